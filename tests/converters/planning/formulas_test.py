import pytest

from converters.planning.formulas import count
from converters.planning.networks import build
from keras_shufflenet.complexity import complexity


@pytest.mark.parametrize(
    ("name", "size", "channels", "classes"),
    [
        ("v2-0.5x", 97, 3, 1000),
        ("v2-8-16-32-64-128", 33, 1, 2),
        ("v2-16-32-64-128-512-small", 32, 3, 10),
        # A bottleneck that is rounded, an ungrouped first convolution, odd sizes.
        ("v1-0.25x-g8", 97, 3, 5),
        ("v1-0.5x-g4-small", 40, 1, 10),
    ],
)
def test_formula_counts_what_the_built_network_has(name, size, channels, classes):
    built = complexity(build(name, size, channels, classes))
    counted = count(name, size, channels, classes)
    assert (counted.macs, counted.parameters) == (built.macs, built.parameters)
    assert counted.image_bytes == size * size * channels
