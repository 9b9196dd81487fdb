from collections import Counter
from itertools import pairwise

import pytest
from PIL import Image

from converters.graph import drawing, reader
from converters.graph.deployment import deployment_graph
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2

SMALL = {"input_shape": (32, 32, 3), "small_images": True, "units_per_stage": (3, 1, 1)}


@pytest.fixture(scope="module")
def v2():
    return ShuffleNetV2(0.5, **SMALL)


@pytest.fixture(scope="module")
def v1():
    return ShuffleNetV1(0.5, 3, se=True, **SMALL)


def kinds(boxes):
    return Counter(box.kind for box in boxes.values())


def test_v2_as_trained_has_a_split_and_a_shuffle_per_unit(v2):
    boxes = drawing.trained_stage(reader.stages(v2)[0])
    found = kinds(boxes)
    # The first unit has two more convolutions and nothing to split.
    assert (found["split"], found["concat"], found["shuffle"]) == (2, 3, 3)
    assert (found["conv"], found["depthwise"]) == (3 * 2 + 1, 3 + 1)
    assert boxes["stage2_unit2_concat"].inputs == ("stage2_unit2_split", "stage2_unit2_pointwise2")


def test_v1_as_trained_has_a_shuffle_per_unit(v1):
    found = kinds(drawing.trained_stage(reader.stages(v1)[0]))
    assert (found["shuffle"], found["add"], found["concat"]) == (3, 2, 1)
    assert (found["squeeze_excite"], found["average_pool"]) == (3, 1)


@pytest.mark.parametrize("name", ["v1", "v2"])
def test_deployed_stage_is_the_graph_s(name, request):
    graph = deployment_graph(request.getfixturevalue(name))
    boxes = drawing.deployed_stage(graph, 2)
    assert not kinds(boxes)["shuffle"]
    assert set(boxes) - {"input"} == {name for name in graph.ops if name.startswith("stage2_")}
    for box in boxes.values():
        assert set(box.inputs) <= set(boxes)


def test_deployed_average_is_labelled_as_one(v1):
    labels = {
        name: box.label for name, box in drawing.deployed_stage(deployment_graph(v1), 2).items()
    }
    assert labels["stage2_unit1_shortcut_pool"] == "3x3 average 12"
    assert labels["stage2_unit1_shortcut_pool_edges"] == "edges' factor 12"


def test_no_two_boxes_overlap_and_all_are_below_their_inputs(v2):
    boxes = drawing.deployed_stage(deployment_graph(v2), 2)
    place = drawing.place_boxes(boxes)
    for name, box in boxes.items():
        assert all(place[source][1] < place[name][1] for source in box.inputs)
    rows = {}
    for column, row in place.values():
        rows.setdefault(row, []).append(column)
    for columns in map(sorted, rows.values()):
        gaps = [right - left for left, right in pairwise(columns)]
        assert min(gaps, default=1) >= 1 - 1e-9


@pytest.mark.parametrize("stage", [2, 3])
def test_picture_is_written(v2, tmp_path, stage):
    drawing.draw_stage(v2, deployment_graph(v2), tmp_path / "stage.png", stage)
    with Image.open(tmp_path / "stage.png") as picture:
        assert picture.format == "PNG" and picture.width > 300
