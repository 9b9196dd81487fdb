import time

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from common.cli import UserError
from common.tflite import flatbuffer
from common.tflite.micro_runtime import MicroRuntime
from edge.running.micro_worker import run_micro

pytest.importorskip("tflite_micro", reason="needs the extra micro")
INT8 = "deployment_int8_ptq.tflite"


def test_each_input_has_its_output_and_time(artifact_dir):
    path = artifact_dir / INT8
    inputs = np.random.default_rng(0).integers(-128, 128, (3, 32, 32, 1), np.int8)
    outputs, milliseconds, arena_bytes = run_micro(path, [inputs])
    runtime = MicroRuntime(path.read_bytes())
    for x, found in zip(inputs, outputs[0], strict=True):
        (expected,) = runtime.run([x[np.newaxis]])
        np.testing.assert_array_equal(found, expected[0])
    assert not np.array_equal(outputs[0][0], outputs[0][1])
    assert len(milliseconds) == 3 and all(0 < one < 1000 for one in milliseconds)
    assert arena_bytes == runtime.arena_bytes()


def test_what_micro_refuses_is_reported_in_its_words(artifact_dir, tmp_path):
    model = flatbuffer.unpack((artifact_dir / INT8).read_bytes())
    for code in model.operatorCodes:
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LSTM
    path = tmp_path / "lstm.tflite"
    path.write_bytes(flatbuffer.pack(model))
    with pytest.raises(UserError, match=r"^TFLite Micro refuses it: \w"):
        run_micro(path, [np.zeros((1, 32, 32, 1), np.int8)])


def test_time_waiting_is_not_counted_and_the_time_limit_ends_it(artifact_dir, monkeypatch):
    invoke = MicroRuntime.invoke

    def slow(runtime):
        time.sleep(1.5)
        invoke(runtime)

    monkeypatch.setattr(MicroRuntime, "invoke", slow)
    inputs = np.zeros((9, 32, 32, 1), np.int8)
    outputs, milliseconds, _ = run_micro(artifact_dir / INT8, [inputs], seconds=2)
    assert len(outputs[0]) == len(milliseconds) == 2
    assert max(milliseconds) < 1500
