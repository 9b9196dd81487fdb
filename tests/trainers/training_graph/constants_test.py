import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from trainers.training_graph.constants import shared

pytestmark = pytest.mark.medium

ROOT = Path(__file__).resolve().parents[3]


def traced(function):
    """Returns what the function returns in a separate graph."""
    made = []
    tf.function(lambda: made.append(function()), autograph=False).get_concrete_function()
    return made[0]


def test_a_graph_has_each_constant_once():
    def several():
        return [shared(1, tf.float32), shared(1, tf.float32), shared((1, 2), tf.int32)]

    first, second, pair = traced(several)
    assert first is second
    assert len(first.graph.get_operations()) == 2
    assert tf.get_static_value(first) == 1.0
    assert tf.get_static_value(pair).tolist() == [1, 2]


def test_types_values_and_graphs_have_separate_constants():
    def several():
        return [shared(1, tf.float32), shared(1, tf.int32), shared(2, tf.float32)]

    tensors = [*traced(several), *traced(several)]
    assert len({id(tensor) for tensor in tensors}) == 6
    assert [tensor.dtype for tensor in tensors[:3]] == [tf.float32, tf.int32, tf.float32]
    assert [tf.get_static_value(tensor) for tensor in tensors] == [1, 1, 2] * 2


def test_inner_graphs_have_their_own():
    def outer():
        return shared(1, tf.float32), traced(lambda: shared(1, tf.float32))

    mine, inner = traced(outer)
    assert mine.graph is not inner.graph
    assert inner.op.type == "Const"


def test_without_a_graph_it_is_a_constant():
    assert shared(0.5, tf.float64).numpy() == 0.5


MIRRORED = """
import tensorflow as tf
from trainers.training_graph.constants import shared

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
inside, outside = [], []

def replica():
    inside.extend([shared(1, tf.float32), shared(1, tf.float32)])
    merge = lambda strategy: outside.extend([shared(1, tf.float32), shared(1, tf.float32)])
    tf.distribute.get_replica_context().merge_call(merge)

tf.function(lambda: strategy.run(replica), autograph=False).get_concrete_function()
assert [tensor.device[-5:] for tensor in inside] == ["CPU:0", "CPU:0", "CPU:1", "CPU:1"]
assert len({id(tensor) for tensor in inside}) == 2
# Outside the replicas, several devices use a constant: no device may have to wait for another.
assert len({id(tensor) for tensor in outside}) == 2
"""


def test_each_device_has_its_own():
    result = subprocess.run(
        [sys.executable, "-c", MIRRORED], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert result.returncode == 0, result.stderr
