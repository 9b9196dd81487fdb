import keras
import numpy as np
import pytest

from keras_shufflenet import ChannelShuffle, ChannelSplit, ShuffleUnitV2, permutations
from keras_shufflenet.permutations import PermutedTensor
from keras_shufflenet.stage_routes import stage_routes


def as_image(channels):
    return np.asarray(channels, np.float32).reshape(1, 1, 1, -1)


def as_order(image):
    return np.ravel(keras.ops.convert_to_numpy(image)).astype(int)


@pytest.mark.parametrize(("channels", "groups"), [(6, 2), (6, 3), (24, 4), (5, 1)])
def test_a_shuffle_is_the_layer_s(channels, groups):
    found = permutations.shuffle(channels, groups)
    np.testing.assert_array_equal(
        found, as_order(ChannelShuffle(groups)(as_image(range(channels))))
    )
    # Of the two orders of rows and columns, one undoes the other.
    back = permutations.shuffle(channels, channels // groups)
    np.testing.assert_array_equal(permutations.inverse(found), back)


@pytest.mark.parametrize("interleaved", [False, True])
def test_halves_are_the_layer_s(interleaved):
    order = np.array([3, 1, 0, 5, 2, 4])
    expected = ChannelSplit(interleaved)(as_image(order))
    for found, wanted in zip(permutations.halves(order, interleaved), expected, strict=True):
        np.testing.assert_array_equal(found, as_order(wanted))


def test_an_order_after_its_inverse_is_the_identity():
    order = np.random.default_rng(0).permutation(20)
    there_and_back = permutations.compose(order, permutations.inverse(order))
    np.testing.assert_array_equal(there_and_back, np.arange(20))


def test_absent_channels_have_no_position_and_stay_absent():
    order = np.array([2, -1, 0, -1])
    assert permutations.inverse(order).tolist() == [2, -1, 0]
    assert permutations.inverse(order, 5).tolist() == [2, -1, 0, -1, -1]
    assert permutations.compose(np.array([10, 11, 12]), order).tolist() == [12, -1, 10, -1]


def test_split_and_padded():
    pieces = permutations.split(np.array([4, 3, 2, 1, 0]), [1, 3, 1])
    assert [piece.tolist() for piece in pieces] == [[4], [3, 2, 1], [0]]
    assert permutations.padded(np.arange(3), 4).tolist() == [0, 1, 2, -1]
    assert permutations.padded(np.arange(4), 4).tolist() == [0, 1, 2, 3]


def test_a_permuted_tensor_changes_numbers_and_no_data():
    x = PermutedTensor("conv", np.array([2, 0, -1]))
    assert x.channels == 3
    for y, order in (
        (x.renumbered(np.array([7, 8, 9])), [9, 7, -1]),
        (x.shifted(10), [12, 10, -1]),
    ):
        assert (y.tensor, y.order.tolist()) == ("conv", order)


@pytest.mark.parametrize("groups", [2, 3])
def test_a_shuffled_tensor_is_the_layer_s_output_in_another_order(groups):
    values, order = np.array([5, 3, 0, 4, 1, 2]) * 10, np.array([5, 3, 0, 4, 1, 2])
    shuffled = PermutedTensor(values, order).shuffled(groups)
    in_order = shuffled.tensor[permutations.inverse(shuffled.order)]
    expected = as_order(ChannelShuffle(groups)(as_image(np.arange(6) * 10)))
    np.testing.assert_array_equal(in_order, expected)


def stage(convention, filters=12, count=4):
    units = [ShuffleUnitV2(filters, 2, convention=convention)]
    units += [ShuffleUnitV2(filters, convention=convention) for _ in range(count - 1)]
    for index, unit in enumerate(units):
        unit.build((1, 8, 8, filters if index else 4))
    return units


@pytest.mark.parametrize("convention", ["paper", "megvii"])
def test_every_channel_arrives_where_the_layers_take_it(convention):
    units = stage(convention)
    routes = stage_routes(units)
    sizes = [len(route.takers) for route in routes]
    assert sizes == [4, 8, 6, 6, 6] if convention == "megvii" else [6] * 5
    shortcut, main, *mains = np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])
    # What each unit takes, by the layers themselves; last: what the stage gives.
    taken, channels = [], merged(units[0], shortcut, main)
    for unit, made in zip(units[1:], mains, strict=True):
        passed, entering = (as_order(half) for half in unit.split(as_image(channels)))
        taken.append(entering)
        channels = merged(unit, passed, made)
    taken.append(channels)
    takers = np.concatenate([route.takers for route in routes])
    numbers = np.concatenate([route.numbers for route in routes])
    assert len(takers) == sum(map(len, taken))
    for taker, expected in enumerate(taken, 1):
        mine = np.flatnonzero(takers == taker)
        np.testing.assert_array_equal(mine[np.argsort(numbers[mine])], expected)


def merged(unit, left, right):
    x = [as_image(left), as_image(right)]
    for layer in unit.merge():
        x = layer(x)
    return as_order(x)


def test_an_unknown_merge_is_named(monkeypatch):
    units = stage("paper")
    layers = [*units[1].merge(), keras.layers.ReLU(name="other")]
    monkeypatch.setattr(units[1], "merge", lambda: layers)
    with pytest.raises(ValueError, match=r"'shuffle_unit_v2.*unknown.*other"):
        stage_routes(units)
