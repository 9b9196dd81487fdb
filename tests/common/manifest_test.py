import copy
import json

import pytest

from common.cli import UserError
from common.manifest import MANIFEST, SCHEMA_VERSION, read_manifest, stored_files

HASH = "0" * 64
TENSOR = {"shape": [1, 8, 8, 3], "dtype": "int8", "scale": 0.1, "zero_point": 0}
GOOD = {
    "schema_version": SCHEMA_VERSION,
    "name": "shufflenet_v2_0.5x",
    "model": {},
    "training": {},
    "task": "classification",
    "inputs": [
        {
            "name": "image",
            "shape": [1, 8, 8, 3],
            "preprocessing": {"scale": [1, 2.0, 3], "offset": [-1]},
        }
    ],
    "outputs": [{"name": "logits", "shape": [1, 3]}],
    "labels": {"sha256": HASH, "bytes": 6},
    "samples": {
        **{"sha256": HASH, "bytes": 100, "images": 5},
        "arrays": {
            "images": {"shape": [8, 8, 3], "dtype": "uint8"},
            "labels": {"shape": [], "dtype": "int32"},
        },
    },
    "files": {
        "deployment_int8_ptq.tflite": {
            **{"sha256": HASH, "bytes": 9, "graph": "deployment", "quantization": "int8-ptq"},
            **{"inputs": [TENSOR], "outputs": [TENSOR], "operators": {}},
        }
    },
}


def of_schema_1():
    """GOOD as a program of the first schema wrote it."""
    manifest = copy.deepcopy(GOOD)
    (image,), (logits,) = manifest.pop("inputs"), manifest.pop("outputs")
    del image["name"], manifest["task"], manifest["samples"]["arrays"]
    for entry in manifest["files"].values():
        (entry["input"],), (entry["output"],) = entry.pop("inputs"), entry.pop("outputs")
    return {**manifest, "schema_version": 1, "input": image, "classes": logits["shape"][1]}


def write(folder, manifest):
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


def changed(path, value):
    """GOOD with the field at `path` (dots between keys) set to `value`."""
    manifest = copy.deepcopy(GOOD)
    *parents, last = path
    target = manifest
    for key in parents:
        target = target[key]
    target[last] = value
    return manifest


def test_good_manifest_is_read(tmp_path):
    manifest = read_manifest(write(tmp_path, GOOD))
    assert manifest == GOOD
    names = [stored.name for stored in stored_files(manifest)]
    assert names == ["labels.txt", "deployment_int8_ptq.tflite", "samples.npz"]


def test_samples_may_be_missing(tmp_path):
    manifest = read_manifest(write(tmp_path, changed(["samples"], None)))
    assert "samples.npz" not in {stored.name for stored in stored_files(manifest)}


@pytest.mark.parametrize("version", [0, 3, "1", True, 1.0, None])
def test_unknown_schema_version_is_refused(tmp_path, version):
    with pytest.raises(UserError, match=r"has schema version .* this program reads 1 and 2"):
        read_manifest(write(tmp_path, changed(["schema_version"], version)))


@pytest.mark.parametrize(
    "name",
    [
        *("../model.tflite", "/etc/model.tflite", "a/model.tflite", "a\\model.tflite"),
        *("C:model.tflite", ".tflite", "..", "", "model.py", "model\n.tflite", "model\0.tflite"),
    ],
)
def test_file_names_that_lead_elsewhere_are_refused(tmp_path, name):
    entry = GOOD["files"]["deployment_int8_ptq.tflite"]
    with pytest.raises(UserError, match="not a plain"):
        read_manifest(write(tmp_path, changed(["files"], {name: entry})))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["name"], 7),
        (["name"], "two\nlines"),
        (["model"], []),
        (["task"], "guessing"),
        (["task"], None),
        (["outputs"], []),
        (["outputs"], {}),
        (["outputs", 0, "shape"], [1, 0]),
        (["outputs", 0, "shape"], [1, 10**12]),
        (["outputs", 0, "shape"], [1, 3, 3]),
        (["outputs", 0, "name"], "two\nlines"),
        (["inputs"], None),
        (["inputs"], [7]),
        (["inputs", 0, "shape"], [0, 8, 8, 3]),
        (["inputs", 0, "shape"], [1, 8, 8]),
        (["inputs", 0, "shape"], [1, 8, -8, 3]),
        (["inputs", 0, "shape"], [1, 8, 10**9, 3]),
        (["inputs", 0, "preprocessing"], {"scale": [1, 2], "offset": [0]}),
        (["inputs", 0, "preprocessing", "scale"], "1"),
        (["inputs", 0, "preprocessing", "scale"], []),
        (["inputs", 0, "preprocessing", "offset"], [float("nan")]),
        (["inputs", 0, "preprocessing", "offset"], [10**18]),
        (["labels"], None),
        (["samples", "arrays"], []),
        (["samples", "arrays", "images"], {"shape": [8, 8, 3], "dtype": "object"}),
        (["samples", "arrays", "images"], {"shape": [-8], "dtype": "uint8"}),
        (["samples", "arrays"], {"../x": {"shape": [8], "dtype": "uint8"}}),
        (["samples", "arrays", "images"], {"shape": [8, 8, 3], "dtype": "float32"}),
        (["samples", "arrays", "images"], {"shape": [8, 8, 1], "dtype": "uint8"}),
        (["samples", "arrays", "labels"], {"shape": [2], "dtype": "int32"}),
        (["samples", "arrays", "output_0"], {"shape": [4], "dtype": "float32"}),
        (["labels", "sha256"], "0" * 63),
        (["labels", "sha256"], None),
        (["labels", "bytes"], -1),
        (["samples"], []),
        (["samples", "images"], 0),
        (["files"], {}),
        (["files"], []),
        (["files", "deployment_int8_ptq.tflite"], "x"),
        (["files", "deployment_int8_ptq.tflite", "bytes"], 1.5),
        (["files", "deployment_int8_ptq.tflite", "operators"], None),
    ],
)
def test_wrong_values_are_named(tmp_path, path, value):
    with pytest.raises(UserError, match=rf"has an unusable {path[0]}"):
        read_manifest(write(tmp_path, changed(path, value)))


@pytest.mark.parametrize(
    ("path", "value"),
    [(["clock_hz"], 0), (["clock_hz"], -5), (["cycles"], {"total": None}), (["memory_bytes"], {})],
)
def test_an_estimate_without_a_usable_clock_is_refused(tmp_path, path, value):
    estimate = {
        "accelerator": "ethos-u55-128",
        "clock_hz": 500_000_000,
        "cycles": {"total": 1},
        "memory_bytes": {"sram": 1},
        "compiled": {"sha256": "0" * 64, "bytes": 1, "name": "a_vela.tflite"},
    }
    name = "deployment_int8_ptq.tflite"
    with pytest.raises(UserError, match=rf"ethosu\.{path[0]}"):
        read_manifest(
            write(tmp_path, changed(["files", name, "ethosu"], estimate | {path[0]: value}))
        )
    assert read_manifest(write(tmp_path, changed(["files", name, "ethosu"], estimate)))


PHOTOGRAPH = {
    "channels": ["red", "green", "blue"],
    "orientation": "exif",
    "resize": {"shorter_side": 9, "filter": "triangle", "antialias": True},
    "crop": "center",
}


def of_photograph(**fields):
    return changed(["inputs", 0], {**GOOD["inputs"][0], **PHOTOGRAPH, **fields})


def test_how_a_photograph_is_read_may_be_said(tmp_path):
    manifest = read_manifest(write(tmp_path, of_photograph()))
    assert manifest["inputs"][0]["resize"]["shorter_side"] == 9


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("channels", ["grey"]),
        ("channels", "rgb"),
        ("orientation", None),
        ("resize", {**PHOTOGRAPH["resize"], "shorter_side": 8.5}),
        ("resize", {**PHOTOGRAPH["resize"], "filter": "box"}),
        ("crop", "top"),
        ("crop", []),
    ],
)
def test_a_photograph_s_wrong_fields_are_named(tmp_path, field, value):
    with pytest.raises(UserError, match=rf"has an unusable inputs\[0\]\.{field}"):
        read_manifest(write(tmp_path, of_photograph(**{field: value})))


def test_half_a_description_of_a_photograph_is_refused(tmp_path):
    fields = {**GOOD["inputs"][0], **PHOTOGRAPH}
    del fields["crop"]
    with pytest.raises(UserError, match=r"lacks the field inputs\[0\]\.crop;"):
        read_manifest(write(tmp_path, changed(["inputs", 0], fields)))


def test_more_sample_bytes_than_memory_are_refused(tmp_path):
    manifest = changed(["samples", "images"], 900_000)
    manifest["samples"]["arrays"]["images"]["shape"] = [8192, 8192, 3]
    manifest["inputs"][0]["shape"] = [1, 8192, 8192, 3]
    with pytest.raises(UserError, match=r"unusable samples\.images"):
        read_manifest(write(tmp_path, manifest))


def test_a_manifest_of_schema_1_is_read_as_one_of_schema_2(tmp_path):
    assert read_manifest(write(tmp_path, of_schema_1())) == GOOD


@pytest.mark.parametrize(
    ("key", "value"), [("classes", 0), ("classes", "3"), ("input", None), ("files", [])]
)
def test_wrong_values_of_schema_1_are_named(tmp_path, key, value):
    with pytest.raises(UserError, match=f"has an unusable {key}"):
        read_manifest(write(tmp_path, {**of_schema_1(), key: value}))


def test_other_networks_have_any_inputs_and_outputs_and_no_labels(tmp_path):
    manifest = changed(["task"], "other")
    manifest["labels"] = None
    manifest["inputs"].append({"name": "age", "shape": [1, 5], "preprocessing": None})
    manifest["outputs"] = [{"name": "map", "shape": [1, 4, 4, 2]}, {"name": "x", "shape": [1]}]
    read = read_manifest(write(tmp_path, manifest))
    assert "labels.txt" not in {stored.name for stored in stored_files(read)}


@pytest.mark.parametrize("key", [key for key in GOOD if key != "schema_version"])
def test_missing_fields_are_named(tmp_path, key):
    manifest = {name: value for name, value in GOOD.items() if name != key}
    with pytest.raises(UserError, match=f"lacks the field {key};"):
        read_manifest(write(tmp_path, manifest))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"a": ' + b"9" * 9999]
)
def test_what_is_no_manifest_is_named(tmp_path, content):
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(UserError, match=r"manifest\.json"):
        read_manifest(tmp_path)


def test_missing_folder_and_missing_manifest_are_named(tmp_path):
    with pytest.raises(UserError, match="nothing is not a folder"):
        read_manifest(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"manifest\.json is missing"):
        read_manifest(tmp_path)


def test_enormous_manifest_is_not_read(tmp_path):
    with (tmp_path / MANIFEST).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="too large"):
        read_manifest(tmp_path)
