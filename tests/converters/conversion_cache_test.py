import functools

import pytest

from common.artifact import Artifact
from converters.conversion_cache import Network, convert_all, file_name
from converters.source_digest import source_digest
from keras_shufflenet import ShuffleNetV2

pytestmark = pytest.mark.medium

SOURCES = ("experiments/harness/catalogue.py",)


def tiny(**changes):
    build = functools.partial(
        ShuffleNetV2, 0.5, input_shape=(32, 32, 3), classes=3, units_per_stage=(1, 1, 1),
        classifier_activation=None,
    )  # fmt: skip
    return Network("tiny", build, SOURCES, **changes)


def test_a_network_becomes_an_artifact_once(tmp_path):
    network = tiny(graphs=("deployment",), quantizations=("none",))
    folder = convert_all([network], tmp_path)["tiny"]
    artifact = Artifact.open(folder)
    assert artifact.labels == ["0", "1", "2"] and artifact.manifest["model"]["macs"] > 0
    model = artifact.load(file_name("deployment", "none"))
    assert (model.input_shape, model.input_dtype) == ((1, 32, 32, 3), "float32")
    (entry,) = artifact.files.values()
    assert "TRANSPOSE" not in entry["operators"]
    written = folder.stat().st_mtime_ns
    assert convert_all([network], tmp_path)["tiny"] == folder
    assert folder.stat().st_mtime_ns == written


@pytest.mark.parametrize("quantization", ["none", "int8-ptq"])
def test_a_batch(tmp_path, quantization):
    network = tiny(quantizations=(quantization,), batch=3)
    artifact = Artifact.open(convert_all([network], tmp_path)["tiny"])
    model = artifact.load(file_name("canonical", quantization))
    assert (model.input_shape, model.output_shape) == ((3, 32, 32, 3), (3, 3))
    (entry,) = artifact.files.values()
    assert entry["operators"]["TRANSPOSE"]["count"] == 3


def test_a_source_that_does_not_exist_any_more_is_an_error():
    assert source_digest("canonical") != source_digest("deployment")
    assert source_digest("floor") == source_digest("deployment") != source_digest("floor", SOURCES)
    with pytest.raises(FileNotFoundError, match=r"no source matches converters/moved\.py"):
        source_digest("deployment", ["converters/moved.py"])
