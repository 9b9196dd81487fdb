"""What a network costs; `python -m keras_shufflenet.complexity` prints it."""

from keras_shufflenet.complexity.counting import Complexity, LayerComplexity, complexity

__all__ = ["Complexity", "LayerComplexity", "complexity"]
