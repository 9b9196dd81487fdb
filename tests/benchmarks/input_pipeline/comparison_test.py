import numpy as np
import pytest
from PIL import Image

from benchmarks.input_pipeline import images
from benchmarks.input_pipeline.comparison import PipelineConfig, compare, pipelines_table
from benchmarks.input_pipeline.settings import OURS, SETTINGS, rate, serves
from common.cli import UserError
from edge.running import worker


@pytest.fixture
def few_images(monkeypatch):
    monkeypatch.setitem(images.SETS, "small", ((32, 32), 16, 95))


def config(tmp_path, **overrides):
    values = {
        "settings": ("32 px",), "pipelines": (OURS, "tf.data"), "rounds": 2, "seconds": 0.1,
        "cores": (0,), "cache": tmp_path,
    }  # fmt: skip
    return PipelineConfig(**{**values, **overrides})


def test_images_are_parts_of_photographs_and_written_once(tmp_path, few_images):
    root = images.image_folder("small", tmp_path)
    files = sorted(root.glob("train/*/*.jpg"))
    assert len(files) == 16
    assert len({path.parent for path in files}) == 8
    pictures = [np.asarray(Image.open(path)) for path in files]
    assert {picture.shape for picture in pictures} == {(32, 32, 3)}
    assert min(picture.std() for picture in pictures) > 10
    assert len({picture.tobytes() for picture in pictures}) == 16
    before = files[0].stat().st_mtime_ns
    images.image_folder("small", tmp_path)
    assert files[0].stat().st_mtime_ns == before


@pytest.mark.usefixtures("few_images")
def test_pipelines_run_in_interleaved_rounds(tmp_path, monkeypatch):
    asked = []

    def call(module, request):
        asked.append((module, request["pipeline"]))
        return {"images_per_second": 100.0 * len(asked)}

    monkeypatch.setattr(worker, "call", call)
    pipelines = (OURS, "tf.data antialiased", "PyTorch on Pillow")
    rates = compare(config(tmp_path, pipelines=pipelines))
    ours = ("benchmarks.input_pipeline.worker", OURS)
    theirs = ("benchmarks.input_pipeline.torch_worker", "PyTorch on Pillow")
    # The antialiased pipeline is skipped: nothing is resized at 32 px.
    assert asked == [ours, theirs, ours, theirs]
    assert rates == {"32 px": {OURS: [100.0, 300.0], "PyTorch on Pillow": [200.0, 400.0]}}


@pytest.mark.usefixtures("few_images")
def test_a_failure_names_the_pipeline(tmp_path, monkeypatch):
    def call(module, request):
        raise UserError("its process died")

    monkeypatch.setattr(worker, "call", call)
    with pytest.raises(UserError, match="ours cannot be measured: its process died"):
        compare(config(tmp_path))


def test_ratios_are_of_the_same_round():
    table = pipelines_table({"224 px": {OURS: [100.0, 400.0], "tf.data": [50.0, 100.0]}})
    assert "| 224 px, tf.data | 75 (55-95) | **3.00x** (2.20-3.80) |" in table
    assert "| 224 px, ours | 250 (130-370) |  |" in table


def test_a_rate_is_of_the_batches_that_were_read():
    read = []
    rates = rate(iter(lambda: read.append(0), 1), batch_size=10, seconds=0.2)
    # Half of them were read before counting.
    assert 0.2 < rates * 0.1 / 10 / (len(read) / 2) < 5


def test_pipelines_without_a_colour_jitter_are_not_compared_there():
    jitter = SETTINGS["224 px with colour jitter"]
    assert serves(OURS, jitter)
    assert serves("PyTorch on tensors", jitter)
    assert not serves("tf.data", jitter)


@pytest.mark.usefixtures("few_images")
@pytest.mark.parametrize("pipeline", [OURS, "tf.data"])
def test_a_worker_measures(tmp_path, pipeline):
    from benchmarks.input_pipeline import worker as pipeline_worker

    request = {
        "setting": {"images": "small", "size": 32, "crop": "pad", "batch_size": 8},
        "pipeline": pipeline,
        "folder": str(images.image_folder("small", tmp_path)),
        "seconds": 0.1,
        "cores": [],
    }
    assert pipeline_worker.measure(request)["images_per_second"] > 1
