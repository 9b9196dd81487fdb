"""What a network costs: counting it, and the command `python -m keras_shufflenet.complexity`."""

from keras_shufflenet.complexity.counting import Complexity, LayerComplexity, complexity

__all__ = ["Complexity", "LayerComplexity", "complexity"]
