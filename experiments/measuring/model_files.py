"""The networks of `experiments.networks.models` as what is converted, once for all experiments."""

import functools

from experiments.measuring.artifacts import Network
from experiments.networks.models import MODELS, Model

_SOURCES = ("experiments/networks/models.py", "experiments/networks/classifiers.py")


def network(name: str, size: tuple[int, int] = (224, 224), model: Model | None = None) -> Network:
    """Returns a network to convert.

    Args:
      name: a key of `MODELS`, or any other where the model is given.
      size: height and width in pixels.
      model: None: that of `MODELS`.

    Examples:
      >>> convert_all([network("v2-1x")], Path("build/experiments"))
    """
    model = model or MODELS[name]
    return Network(
        name=f"{name.replace('-', '_')}_{size[0]}x{size[1]}",
        build=functools.partial(model.build, input_shape=(*size, 3)),
        sources=_SOURCES,
        graphs=model.graphs,
    )
