"""Files that crash LiteRT, or never end, end the process that runs them and nothing else."""

import signal
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from common.cli import UserError
from common.tflite.isolated import IsolatedModel
from common.tflite.litert import LiteRTModel

HOSTILE = Path(__file__).resolve().parents[4] / "shared/fixtures/hostile"


def test_it_computes_what_litert_computes_here(good):
    images = np.random.default_rng(1).uniform(-1, 1, (37, 8, 8, 3)).astype(np.float32)
    model = IsolatedModel(good)
    assert (model.input_shape, model.output_shape) == ((1, 8, 8, 3), (1, 2))
    expected = LiteRTModel(good).predict(images)
    for _ in range(2):
        np.testing.assert_array_equal(model.predict(images), expected)
    assert model.predict(images[:0]).shape == (0, 2)


def test_a_file_that_crashes_is_named(good):
    model = IsolatedModel(good)
    model._process.send_signal(signal.SIGSEGV)
    with pytest.raises(UserError, match=r"good\.tflite ended the process that ran it \(SIGSEGV\)"):
        model.predict(np.zeros((1, 8, 8, 3), np.float32))


@pytest.mark.skipif(not HOSTILE.is_dir(), reason="needs the shared fixtures")
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("segv", r"ended the process that ran it \(SIGSEGV\)"),
        ("loop", "did not answer within 5 seconds"),
        ("noinputs", "is damaged or not supported"),
    ],
)
def test_hostile_files_are_named(name, reason):
    with pytest.raises(UserError, match=rf"{name}\.tflite {reason}"):
        model = IsolatedModel(HOSTILE / f"{name}.tflite", seconds=5)
        model.predict(np.zeros((1, *model.input_shape[1:]), np.float32))


def test_a_file_that_never_ends_is_named(tmp_path):
    def count(image):
        (total,) = tf.while_loop(lambda x: tf.reduce_all(x > -1.0), lambda x: [x + 1.0], [image])
        return tf.reduce_mean(total, axis=(1, 2))

    specification = tf.TensorSpec((1, 4, 4, 1), tf.float32)
    function = tf.function(count, autograph=False).get_concrete_function(specification)
    path = tmp_path / "loop.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
    model = IsolatedModel(path, seconds=5)
    with pytest.raises(UserError, match=r"loop\.tflite did not answer within 5 seconds"):
        model.predict(np.zeros((1, 4, 4, 1), np.float32))


def test_what_litert_refuses_is_named_as_here(tmp_path):
    path = tmp_path / "text.tflite"
    path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(50))
    with pytest.raises(UserError, match=r"text\.tflite is damaged or not supported"):
        IsolatedModel(path)
