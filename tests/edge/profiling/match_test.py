import pytest

from edge.profiling.layers import Layer, kind_of
from edge.profiling.match import match_layers, runtime_kind

CONV = "Fully Connected (NC, QS8, QC8W) GEMM"
STEM = "Convolution (NHWC, QC8) IGEMM"
DEPTHWISE = "Convolution (NHWC, QC8) DWConv"


def layers(*operators):
    return [Layer(str(i), name, kind_of(name), (1, 1), 0, 0, 0) for i, name in enumerate(operators)]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (STEM, "convolution"),
        (CONV, "convolution"),
        (DEPTHWISE, "depthwise"),
        ("Transpose (ND, X8) Transpose", "data movement"),
        ("Copy (NC, X8)", "data movement"),
        ("Static Reshape (NC)", "data movement"),
        ("Mean (ND) Reduce", "pooling"),
        ("Add (ND)", "element-wise"),
        ("Clamp (NC)", "element-wise"),
        ("Convert (NC, F32, QS8)", "conversion"),
        ("AVERAGE_POOL_2D", "pooling"),
        ("something new", "other"),
    ],
)
def test_kinds_of_a_runtime(name, kind):
    assert runtime_kind(name) == kind


def test_layers_are_found_in_order():
    file = layers("CONV_2D", "DEPTHWISE_CONV_2D", "SPLIT", "CONV_2D", "FULLY_CONNECTED")
    names = [STEM, DEPTHWISE, "Copy (NC, X8)", CONV, CONV]
    assert match_layers(names, [None] * 5, file) == [0, 1, 2, 3, 4]


def test_an_operator_that_the_runtime_added_leaves_its_sort_unmatched():
    file = layers("CONV_2D", "RESHAPE", "TRANSPOSE")
    names = [STEM, "Static Reshape (NC)", "Transpose (ND, X8)", "Static Reshape (NC)"]
    assert match_layers(names, [None] * 4, file) == [0, None, 2, None]


def test_another_order_of_convolutions_is_not_guessed():
    file = layers("CONV_2D", "DEPTHWISE_CONV_2D")
    assert match_layers([DEPTHWISE, STEM], [None] * 2, file) == [None, None]


def test_litert_s_own_kernels_tell_their_index():
    file = layers("AVERAGE_POOL_2D", "CONV_2D", "CONV_2D")
    assert match_layers(["CONV_2D", STEM], [2, None], file) == [2, 1]
