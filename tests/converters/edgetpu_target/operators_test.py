from types import SimpleNamespace

import numpy as np
import pytest

from common.tflite.operators import Operator, Tensor
from converters.edgetpu_target import operators as limits


def tensor(*shape, values=None, zero_point=0):
    values = None if values is None else np.array(values)
    return Tensor(shape, "int8", True, 1, zero_point, values)


def operator(inputs, output, **options):
    return Operator("ANY", 1, tuple(inputs), (output,), SimpleNamespace(**options))


IMAGE = tensor(1, 8, 8, 4)


def unary(**options):
    return operator([IMAGE], IMAGE, **options)


def with_constant(values, output=IMAGE):
    return operator([IMAGE, tensor(len(values), values=values)], output)


def strided(strides, ellipsisMask=0, newAxisMask=0):
    constants = [tensor(4, values=values) for values in ([0] * 4, [8] * 4, strides)]
    masks = {"ellipsisMask": ellipsisMask, "newAxisMask": newAxisMask}
    return operator([IMAGE, *constants], IMAGE, **masks)


def concatenation(*constants):
    return operator([IMAGE, *constants], IMAGE)


def convolution(channels):
    return operator([IMAGE, tensor(8, 3, 3, channels, values=[1])], IMAGE)


ZEROS, ONES = (tensor(1, 8, 8, 4, values=[value] * 4, zero_point=3) for value in (3, 4))


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        ("no_activation", unary(fusedActivationFunction=0), unary(fusedActivationFunction=1)),
        (
            "even_dilation",
            unary(dilationHFactor=2, dilationWFactor=2),
            unary(dilationHFactor=2, dilationWFactor=1),
        ),
        ("ungrouped", convolution(4), convolution(2)),
        (
            "default_weights",
            operator([IMAGE], tensor(1, 10), weightsFormat=0),
            operator([IMAGE], tensor(1, 10), weightsFormat=1),
        ),
        ("default_weights", operator([IMAGE], tensor(1, 10)), operator([IMAGE], tensor(2, 10))),
        ("constants_pad", concatenation(IMAGE, IMAGE), concatenation(IMAGE, ZEROS)),
        ("constants_pad", concatenation(ZEROS), concatenation(ONES)),
        ("reduces_image", with_constant([1, 2]), with_constant([1, 2, 3])),
        ("reduces_image", with_constant([-3]), with_constant([0])),
        ("keeps_batch", with_constant([3]), with_constant([-4])),
        (
            "pads_image",
            with_constant([[0, 0], [1, 1], [1, 0], [0, 0]]),
            with_constant([[0, 0], [1, 1], [1, 1], [0, 1]]),
        ),
        ("packs_no_batch", unary(axis=3), unary(axis=-4)),
        (
            "splits_no_batch",
            operator([tensor(1, values=[3]), IMAGE], IMAGE),
            operator([tensor(1, values=[0]), IMAGE], IMAGE),
        ),
        ("unit_strides", strided([1, 1, 1, 1]), strided([1, 2, 1, 1])),
        ("unit_strides", strided([1] * 4), strided([1] * 4, ellipsisMask=1)),
        ("unit_strides", strided([1] * 4), strided([1] * 4, newAxisMask=2)),
        (
            "squeezes_front",
            operator([tensor(1, 1, 10)], tensor(10)),
            operator([tensor(5, 1, 10)], tensor(5, 10)),
        ),
        (
            "small_vector",
            operator([tensor(1, 16000)], tensor(1, 16000)),
            operator([tensor(1, 16001)], tensor(1, 16001)),
        ),
        ("channel_slopes", with_constant([1], IMAGE), operator([IMAGE, IMAGE], IMAGE)),
    ],
)
def test_rules_at_their_limits(rule, good, bad):
    check = getattr(limits, rule)
    assert check(good) is None
    assert check(bad).startswith(("it ", "its "))


def test_every_rule_belongs_to_an_operator():
    used = {rule.__name__ for entry in limits.OPERATORS.values() for rule in entry.rules}
    assert used == {
        *("no_activation", "even_dilation", "ungrouped", "default_weights"),
        *("constants_pad", "reduces_image", "keeps_batch", "pads_image", "packs_no_batch"),
        *("splits_no_batch", "unit_strides", "squeezes_front", "small_vector", "channel_slopes"),
    }
