"""Tiny detectors of ours, and one as others publish theirs: an ONNX file."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.other_detectors import comparison, networks, theirs
from benchmarks.other_detectors.comparison import (
    OUR_FLOAT_VARIANT,
    DetectorsConfig,
    compare_all,
    summarize,
)
from benchmarks.other_detectors.networks import Ours, Theirs
from benchmarks.other_detectors.prepared import Prepared
from benchmarks.other_detectors.table import detectors_table
from benchmarks.other_runtimes.files import OURS as OUR_VARIANT
from benchmarks.other_runtimes.files import PUBLISHED, Variant
from common.cli import UserError
from edge.running.side_by_side import Turns
from keras_shufflenet.complexity import complexity

TINY = Ours(0.5, "fused", 64)
PIXELS = {"pixels": 64, "counterpart": "tiny", "mean": (0, 0, 0), "deviation": (255, 255, 255)}
PUBLISHED_TINY = Theirs("Published", files={"onnx": "p.onnx", "ncnn": "p.param"}, **PIXELS)
USUAL = replace(OUR_VARIANT, graph="canonical")


@pytest.fixture(autouse=True)
def tiny_detectors(monkeypatch):
    monkeypatch.setattr(comparison, "OURS", {"tiny": TINY})
    monkeypatch.setattr(theirs, "THEIRS", {"published": PUBLISHED_TINY})


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory):
    """A detector as old exporters wrote it: operator set 12, weights that are also inputs."""
    onnx = pytest.importorskip("onnx", reason="onnx is missing: keras_shufflenet[onnx] has it")
    pytest.importorskip("onnxruntime", reason="onnxruntime is missing")
    from converters.graph.deployment import deployment_graph
    from converters.graph.targets import ONNX_LOWERING
    from converters.onnx_target.export import onnx_model

    model = onnx_model(deployment_graph(networks.build(TINY), lowering=ONNX_LOWERING))
    model.graph.input.extend(
        onnx.helper.make_tensor_value_info(weight.name, weight.data_type, weight.dims)
        for weight in model.graph.initializer
    )
    path = tmp_path_factory.mktemp("published") / "p.onnx"
    onnx.save(model, path)
    return path


def config(tmp_path, folder=None, runtimes=("onnxruntime",)):
    return DetectorsConfig(folder, runtimes, tmp_path, Turns(2, 1, 1, core=0))


@pytest.mark.slow
def test_ours_and_a_published_one_in_one_run(tmp_path, onnx_file):
    found = compare_all(config(tmp_path, onnx_file.parent))
    assert found["missing"] == []
    rows = {(row["detector"], row["graph"], row["precision"]): row for row in found["rows"]}
    assert list(rows) == [
        ("tiny", "deployment", "int8"),
        ("tiny", "deployment", "float32"),
        ("tiny", "canonical", "int8"),
        ("tiny", "canonical", "float32"),
        ("published", PUBLISHED, "float32"),
        ("published", PUBLISHED, "int8"),
    ]
    assert {row["multiply_adds"] for row in rows.values()} == {
        complexity(networks.build(TINY)).macs
    }
    assert rows["tiny", "deployment", "int8"]["to_our_int8"]["median"] == 1
    assert all(row["ms"]["runs"] == 2 and row["ms"]["min"] > 0 for row in rows.values())
    # Rounding to int8 is seen, so a check of the outputs can fail.
    assert all(
        (row["cosine"] < 0.99999) == (precision == "int8")
        for (_, _, precision), row in rows.items()
    )


@pytest.mark.medium
def test_a_file_that_computes_something_else_is_not_timed(tmp_path, onnx_file):
    detector = theirs.prepare("published", {"onnx": onnx_file}, ("onnxruntime",), tmp_path)
    (first, *_), differences = detector.files, comparison.check(detector, core=0)
    assert first.precision == "float32" and differences[0]["max_abs_error"] == 0
    outputs = np.load(tmp_path / "detectors_published/outputs.npy")
    wrong = replace(detector, expected=outputs[::-1])
    with pytest.raises(UserError, match="float32 published file of Published does not compute"):
        comparison.check(wrong, core=0)


@pytest.mark.medium
@pytest.mark.parametrize("share", [0.5, 0.999])
def test_a_damaged_onnx_file_is_named(tmp_path, onnx_file, share):
    path = tmp_path / "p.onnx"
    content = onnx_file.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"p\.onnx is damaged or no ONNX model; fetch it again"):
        compare_all(config(tmp_path, tmp_path))


@pytest.mark.medium
def test_a_file_of_another_size_is_named(tmp_path, onnx_file, monkeypatch):
    larger = replace(PUBLISHED_TINY, pixels=96)
    monkeypatch.setitem(theirs.THEIRS, "published", larger)
    with pytest.raises(UserError, match=r"p\.onnx takes inputs of \[\[1, 3, 64, 64\]\]"):
        theirs.prepare("published", {"onnx": onnx_file}, ("onnxruntime",), tmp_path)


@pytest.mark.medium
def test_a_damaged_ncnn_file_is_named(tmp_path):
    pytest.importorskip("ncnn", reason="ncnn is missing: keras_shufflenet[bench] has it")
    lines = ["7767517", "2 2", "Input in 0 1 in", "Convolution c 1 1 in out 0=4 1=3 5=1 6=108"]
    (tmp_path / "p.param").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "p.bin").write_bytes(bytes(100))
    with pytest.raises(UserError, match=r"p\.param cannot be measured: ncnn cannot load"):
        compare_all(config(tmp_path, tmp_path, ("ncnn",)))


def test_a_folder_without_any_file_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"has nothing for ncnn, litert of p\.onnx, p\.param"):
        theirs.find(tmp_path, ("ncnn",))
    with pytest.raises(UserError, match="no-folder is not a folder"):
        theirs.find(tmp_path / "no-folder", ("ncnn",))


def test_what_a_runtime_lacks_is_named(tmp_path):
    (tmp_path / "p.param").touch()
    (tmp_path / "p.onnx").touch()
    found = theirs.find(tmp_path, ("ncnn", "openvino"))
    assert found.files == {"published": {"onnx": tmp_path / "p.onnx"}}
    assert found.missing == ("Published as ncnn, without p.bin",)
    (tmp_path / "p.bin").touch()
    assert theirs.find(tmp_path, ("ncnn", "openvino")).missing == ()
    assert theirs.find(tmp_path, ("ncnn",)).files == {"published": {"ncnn": tmp_path / "p.param"}}


def test_ratios_are_of_the_same_round_and_the_table_says_what_is_compared(tmp_path):
    common = {"images": tmp_path, "counterpart": "a"}
    files = dict.fromkeys((OUR_VARIANT, OUR_FLOAT_VARIANT, USUAL), tmp_path)
    ours = Prepared("a", "a", 320, 102_236_800, files=files, **common)
    ncnn = Variant("ncnn", PUBLISHED, "float32")
    other = Prepared("b", "B", 352, None, files={ncnn: tmp_path}, **common)
    check = {"max_abs_error": 2e-6, "relative_error": 1e-6, "cosine": 0.987}
    times = np.array([[1.0, 2.0], [2.0, 4.0], [1.5, 3.0], [4.0, 4.0]])
    rows = summarize([ours, other], [[check] * 3, [check]], times)
    assert rows[3]["to_our_int8"] == {"median": 3.0, "p10": 2.2, "p90": 3.8}
    lines = detectors_table(rows, ["C as onnx, without c.onnx"]).splitlines()
    assert lines[2:] == [
        "| a, LiteRT, deployment | 320 | 102 | 3.000 (2.200-3.800) | 1.500 (1.100-1.900) | ours "
        "|  |  |  | 2e-06 | 0.987 |",
        "| a, LiteRT, canonical | 320 | 102 | int8 only | 2.250 (1.650-2.850) | deployment "
        "| **1.50x** (1.50-1.50) |  |  |  | 0.987 |",
        "| B, ncnn | 352 |  | 4.000 (4.000-4.000) | float32 only | a "
        "|  | **1.50x** (1.10-1.90) | **3.00x** (2.20-3.80) | 2e-06 |  |",
        "",
        "Not run: C as onnx, without c.onnx.",
    ]
