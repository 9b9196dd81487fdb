import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from trainers.data import sources
from trainers.data.sources import WHOLE, IndexedSource, RecordSource, Shard

COUNT = 23


def indexed():
    return IndexedSource(("a", "b"), COUNT, 1, read=lambda index: (index, index % 2))


def recorded(*ends):
    """Examples in files that end there."""
    ends = tf.constant([0, *ends, COUNT], tf.int64)

    def read(file):
        return tf.data.Dataset.range(ends[file], ends[file + 1]).map(lambda i: (i, i % 2))

    return RecordSource(("a", "b"), COUNT, 1, sizes=tuple(np.diff(ends).tolist()), read=read)


def in_files():
    return recorded(5, 9, 10, 18)


def take(source, seed, start, count, shard=WHOLE):
    stream = source.shuffled(seed, start, shard).as_numpy_iterator()
    return [tuple(int(v) for v in element) for element in itertools.islice(stream, count)]


@pytest.mark.parametrize("make", [indexed, recorded, in_files])
def test_ordered_gives_every_example_once(make):
    elements = [tuple(map(int, e)) for e in make().ordered().as_numpy_iterator()]
    assert elements == [(i, i % 2) for i in range(COUNT)]


@pytest.mark.parametrize("make", [indexed, recorded, in_files])
def test_every_epoch_has_every_example_once_in_its_own_order(make):
    stream = take(make(), seed=3, start=0, count=3 * COUNT)
    assert [position for position, *_ in stream] == list(range(3 * COUNT))
    assert all(label == image % 2 for *_, image, label in stream)
    epochs = [tuple(e[2] for e in stream[n * COUNT : (n + 1) * COUNT]) for n in range(3)]
    assert all(sorted(epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({*epochs, tuple(range(COUNT))}) == 4


@pytest.mark.parametrize("make", [indexed, recorded, in_files])
def test_the_visits_of_an_image_are_consecutive_numbers(make):
    visits = {}
    for _, visit, image, _ in take(make(), seed=3, start=0, count=4 * COUNT):
        visits.setdefault(image, []).append(visit)
    assert all(np.diff(numbers).tolist() == [1, 1, 1] for numbers in visits.values())
    # Half of the images have an even number.
    assert abs(sum(numbers[0] % 2 for numbers in visits.values()) - COUNT / 2) <= 2


@pytest.mark.parametrize("make", [indexed, recorded, in_files])
@pytest.mark.parametrize("start", [1, COUNT - 1, COUNT, 2 * COUNT + 5])
def test_a_stream_can_start_anywhere(make, start):
    whole = take(make(), seed=3, start=0, count=start + COUNT)
    assert take(make(), seed=3, start=start, count=COUNT) == whole[start:]


@pytest.mark.parametrize("make", [indexed, recorded, in_files])
@pytest.mark.parametrize("shard", [WHOLE, Shard(worker=1, workers=2, length=3)])
def test_loaded_examples_replace_the_examples(make, shard):
    stream = make().shuffled(3, 6, shard, load=lambda *example: tf.reduce_sum(example))
    sums = [int(total) for total in itertools.islice(stream.as_numpy_iterator(), COUNT)]
    assert sums == [sum(example) for example in take(make(), 3, 6, COUNT, shard)]


@pytest.mark.parametrize("make", [indexed, recorded, in_files])
def test_the_seed_decides_the_order(make):
    assert take(make(), 1, 0, COUNT) == take(make(), 1, 0, COUNT)
    assert take(make(), 1, 0, COUNT) != take(make(), 2, 0, COUNT)


@pytest.mark.parametrize("make", [indexed, recorded, in_files])
def test_the_order_does_not_depend_on_tensorflows_seed(make):
    tf.random.set_seed(None)
    unseeded = take(make(), 3, 0, 2 * COUNT)
    for seed in (0, 1):
        tf.random.set_seed(seed)
        assert take(make(), 3, 0, 2 * COUNT) == unseeded


@pytest.fixture
def groups_of_two_files(monkeypatch):
    monkeypatch.setattr(sources, "_SHUFFLE_BUFFER", 9)


@pytest.mark.usefixtures("groups_of_two_files")
@pytest.mark.parametrize("start", [0, 1, 8, 9, 14, COUNT - 1, COUNT, 2 * COUNT + 5])
def test_a_stream_of_many_groups_can_start_anywhere(start):
    whole = take(in_files(), seed=3, start=0, count=start + COUNT)
    assert sorted(image for _, _, image, _ in whole[:COUNT]) == list(range(COUNT))
    assert take(in_files(), seed=3, start=start, count=COUNT) == whole[start:]


@pytest.mark.usefixtures("groups_of_two_files")
def test_starting_late_in_an_epoch_reads_only_the_groups_from_there():
    source, opened = in_files(), []

    def read(file):
        noted = tf.py_function(lambda file: opened.append(int(file)) or file, [file], tf.int64)
        return source.read(tf.ensure_shape(noted, []))

    counting = dataclasses.replace(source, read=read)
    take(counting, seed=3, start=COUNT - 1, count=1)
    assert len(set(opened)) < len(source.sizes)


def test_each_worker_reads_its_own_files(groups_of_two_files):
    seen = []
    for worker in range(2):
        shard = Shard(worker, 2, length=3)
        stream = in_files().shuffled(3, 6, shard).as_numpy_iterator()
        elements = [tuple(map(int, e)) for e in itertools.islice(stream, COUNT)]
        assert [p for p, *_ in elements] == [shard.position(3 + n) for n in range(COUNT)]
        first = itertools.islice(in_files().shuffled(3, 0, shard).as_numpy_iterator(), 8)
        seen.append({int(image) for _, _, image, _ in first})
    assert len(seen[0] | seen[1]) == 16


def test_fewer_files_than_workers_are_read_by_all():
    whole = take(recorded(), seed=3, start=0, count=3 * COUNT)
    for worker in range(2):
        shard = Shard(worker, 2, length=3)
        stream = recorded().shuffled(3, 0, shard).as_numpy_iterator()
        elements = [tuple(map(int, e)) for e in itertools.islice(stream, COUNT)]
        assert elements == [whole[shard.position(n)] for n in range(COUNT)]


@pytest.mark.parametrize("make", [indexed, recorded])
@pytest.mark.parametrize(("workers", "length"), [(1, 4), (2, 3), (3, 5)])
def test_the_workers_shards_make_up_the_stream(make, workers, length):
    start, count = 2 * workers * length, 4 * length
    whole = take(make(), 3, start, workers * count)
    for worker in range(workers):
        blocks = [
            whole[i : i + length] for i in range(worker * length, len(whole), workers * length)
        ]
        shard = Shard(worker, workers, length)
        assert take(make(), 3, start, count, shard) == [e for block in blocks for e in block]


@pytest.mark.parametrize("make", [indexed, recorded])
@pytest.mark.parametrize(("workers", "length"), [(1, 4), (2, 3), (3, 5), (2, 30)])
def test_each_example_is_in_one_shard(make, workers, length):
    shards = [Shard(worker, workers, length) for worker in range(workers)]
    images = [[int(i) for i, _ in make().ordered(p).as_numpy_iterator()] for p in shards]
    assert [len(found) for found in images] == [shard.size(COUNT) for shard in shards]
    assert all(found == sorted(found) for found in images)
    assert sorted(itertools.chain(*images)) == list(range(COUNT))
    assert images[0][:length] == list(range(min(length, COUNT)))
