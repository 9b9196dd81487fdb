import sys

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from common.cli import UserError
from common.tflite import flatbuffer, micro_runtime
from common.tflite.micro_runtime import MicroRuntime, arena_total, micro_version

FILE = "deployment_int8_ptq.tflite"


@pytest.mark.parametrize(
    ("notes", "expected"),
    [
        ("[RecordingMicroAllocator] Arena allocation total 8720 bytes\r\n", 8720),
        (
            "INFO: XNNPACK\n[RecordingMicroAllocator] Arena allocation total 100 bytes\n"
            "[RecordingMicroAllocator] Arena allocation total 200 bytes\n"
            "[RecordingMicroAllocator] Arena allocation head 64 bytes\n",
            200,
        ),
        ("nothing of the kind", None),
    ],
)
def test_arena_is_read_from_what_is_printed(notes, expected):
    assert arena_total(notes) == expected


def test_it_runs_again_and_again_and_tells_its_arena(artifact_dir, capfd):
    pytest.importorskip("tflite_micro", reason="needs the extra micro")
    runtime = MicroRuntime((artifact_dir / FILE).read_bytes())
    x = np.random.default_rng(0).integers(-128, 128, (1, 32, 32, 1), np.int8)
    (first,), (second,) = runtime.run([x]), runtime.run([x])
    np.testing.assert_array_equal(first, second)
    assert 32 * 32 < runtime.arena_bytes() < 2**20
    assert capfd.readouterr().err == ""


def test_what_micro_refuses_is_told(artifact_dir):
    pytest.importorskip("tflite_micro", reason="needs the extra micro")
    model = flatbuffer.unpack((artifact_dir / FILE).read_bytes())
    for code in model.operatorCodes:
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LSTM
    with pytest.raises(UserError, match="it refuses the file"):
        MicroRuntime(flatbuffer.pack(model))


def test_an_interpreter_that_does_not_tell_its_arena_is_named(monkeypatch):
    monkeypatch.setattr(micro_runtime, "_TOTAL", micro_runtime.re.compile("no such line (1)"))
    runtime = MicroRuntime.__new__(MicroRuntime)
    runtime._interpreter = type("Fake", (), {"print_allocations": lambda self: None})()
    with pytest.raises(UserError, match="does not report its arena; install another version"):
        runtime.arena_bytes()


def test_missing_package_is_told(monkeypatch):
    for name in ("tflite_micro", "tflite_micro.python.tflite_micro"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=r"it is not installed; pip install 'keras_shufflenet\[mic"):
        MicroRuntime(b"")
    monkeypatch.setattr(micro_runtime, "_PACKAGE", "no-such-package")
    assert micro_version() is None
