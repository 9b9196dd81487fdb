"""A small data set of boxes."""

import pytest

from trainers.detection.data.dataset import open_sets


@pytest.fixture(scope="session")
def squares(squares_folder):
    """`squares_folder`, opened."""
    (found,) = open_sets(squares_folder, ["train"])
    return found
