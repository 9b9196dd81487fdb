"""Rewrites a trained Keras 3 model as its deployment graph, without BatchNormalization or shuffles.

A channel shuffle is a permutation that is known when the graph is built, so that convolutions can
absorb it: no operator is left of it, where a convolution is beside it. The model is walked layer by
layer (`converters.graph.walk`), with one rule a class of layers (`converters.graph.rules`).
"""

import keras

from converters.graph.fixed_scales import free_fixed_scales
from converters.graph.operations import Graph
from converters.graph.simplify import simplify
from converters.graph.targets import LOWERINGS, Lowering
from converters.graph.walk import walk


def deployment_graph(
    model: keras.Model,
    target: str = "cpu",
    lowering: Lowering | None = None,
    size: int | None = None,
) -> Graph:
    """Returns the deployment graph of a trained functional or Sequential Keras 3 model.

    Args:
      model: any whose layers have rules (docs/deployment.md lists them).
      target: "cpu", "micro", "edgetpu" or "ethosu".
      lowering: replaces the target's lowering, for experiments.
      size: height and width in pixels, if the model does not fix them.

    Returns:
      A graph with the same outputs as `model`, apart from float32 rounding, in the model's order.

    Raises:
      UserError: a layer has no rule, or settings that its rule does not support (the message names
        it), the model is not functional, its weights are non-finite, or a size is missing.

    Examples:
      >>> graph = deployment_graph(keras_shufflenet.ShuffleNetV2(scale=0.5))
    """
    return free_fixed_scales(simplify(walk(model, lowering or LOWERINGS[target], size)))
