import pytest

from converters.workdir import network_name
from trainers.recipes import make_config

# The recipe digits has a scale, which V2+ has not.
_PLUS = {"model": "shufflenet_v2_plus", "scale": 1.0}


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"scale": 0.5}, "shufflenet_v2_0.5x"),
        ({"model": "shufflenet_v1", "groups": 4}, "shufflenet_v1_0.5x_g4"),
        (_PLUS, "shufflenet_v2_plus_small"),
        ({**_PLUS, "size": "large"}, "shufflenet_v2_plus_large"),
        ({"head_channels": 512}, "shufflenet_v2_0.5x_head512"),
        (
            {"stem_channels": 8, "stage_channels": "16,32,64", "head_channels": 128},
            "shufflenet_v2_stem8_stage16-32-64_head128",
        ),
    ],
)
def test_a_network_is_named_by_what_makes_it(values, name):
    assert network_name(make_config("digits", "w", values).network) == name
