import itertools

import numpy as np
import pytest

from converters.micro_target.rows import Request, Rows, Window, plan_step

WEIGHTS = np.array([2, 3, 5, 7, 11])


def convolve(column, size, stride, same):
    """A convolution of one column with TensorFlow's padding, written out."""
    count = -(-len(column) // stride) if same else (len(column) - size) // stride + 1
    above = max((count - 1) * stride + size - len(column), 0) // 2 if same else 0
    padded = np.concatenate([np.zeros(above), column, np.zeros(size + stride)])
    return np.array([padded[at * stride :][:size] @ WEIGHTS[:size] for at in range(count)])


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize(("size", "stride"), [(1, 1), (1, 2), (2, 2), (3, 1), (3, 2), (5, 2)])
def test_a_part_of_the_input_gives_the_rows_of_the_whole(size, stride, same):
    rng = np.random.default_rng(0)
    for height in range(6, 13):
        column = rng.integers(-9, 9, height)
        whole = convolve(column, size, stride, same)
        for start, stop in itertools.combinations(range(len(whole) + 1), 2):
            rows = Rows(start, stop)
            step = plan_step(Window(size, stride, same, height), Request(rows, rows))
            given, needed = step.input
            part = column.astype(float)
            # What is not asked for may hold anything.
            part[: needed.start] = part[needed.stop :] = 1e6
            made = convolve(part[slice(*given)], size, stride, same)
            assert len(made) == len(step.made) and step.made.holds(rows)
            offset = start - step.made.start
            assert made[offset:][: len(rows)].tolist() == whole[slice(*rows)].tolist()


def test_rows_that_are_not_used_keep_operators_few():
    # A pool of stride 2 after a convolution of stride 2, both with padding at the end alone: the
    # pool is given a row too many, so that its padding is where the whole map's would be.
    pool = Window(size=3, stride=2, same=True, height=112)
    step = plan_step(pool, Request(Rows(8, 16), Rows(8, 15)))
    assert step.input == Request(Rows(16, 32), Rows(16, 31))
    assert step.made == Rows(8, 16)
