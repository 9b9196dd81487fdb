import itertools

import pytest
import tensorflow as tf

from trainers.sources import IndexedSource, RecordSource

COUNT = 23


def indexed():
    return IndexedSource(("a", "b"), COUNT, 1, read=lambda index: (index, index % 2))


def recorded():
    records = tf.data.Dataset.range(COUNT).map(lambda index: (index, index % 2))
    return RecordSource(("a", "b"), COUNT, 1, records=records)


def take(source, seed, start, count):
    stream = source.shuffled(seed, start).as_numpy_iterator()
    return [tuple(int(v) for v in element) for element in itertools.islice(stream, count)]


@pytest.mark.parametrize("make", [indexed, recorded])
def test_ordered_gives_every_example_once(make):
    elements = [tuple(map(int, e)) for e in make().ordered().as_numpy_iterator()]
    assert elements == [(i, i % 2) for i in range(COUNT)]


@pytest.mark.parametrize("make", [indexed, recorded])
def test_every_epoch_has_every_example_once_in_its_own_order(make):
    stream = take(make(), seed=3, start=0, count=3 * COUNT)
    assert [position for position, _, _ in stream] == list(range(3 * COUNT))
    assert all(label == image % 2 for _, image, label in stream)
    epochs = [tuple(image for _, image, _ in stream[e * COUNT : (e + 1) * COUNT]) for e in range(3)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({*epochs, tuple(range(COUNT))}) == 4


@pytest.mark.parametrize("make", [indexed, recorded])
@pytest.mark.parametrize("start", [1, COUNT - 1, COUNT, 2 * COUNT + 5])
def test_a_stream_can_begin_anywhere(make, start):
    whole = take(make(), seed=3, start=0, count=start + COUNT)
    assert take(make(), seed=3, start=start, count=COUNT) == whole[start:]


@pytest.mark.parametrize("make", [indexed, recorded])
def test_the_seed_decides_the_order(make):
    assert take(make(), 1, 0, COUNT) == take(make(), 1, 0, COUNT)
    assert take(make(), 1, 0, COUNT) != take(make(), 2, 0, COUNT)


@pytest.mark.parametrize("make", [indexed, recorded])
def test_the_order_does_not_depend_on_tensorflows_seed(make):
    tf.random.set_seed(None)
    unseeded = take(make(), 3, 0, 2 * COUNT)
    for seed in (0, 1):
        tf.random.set_seed(seed)
        assert take(make(), 3, 0, 2 * COUNT) == unseeded
