import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

from common.tflite.flatbuffer import operator_code, pack, unpack


def two_layers():
    """A .tflite file of two layers whose sizes are no multiples of anything."""
    rng = np.random.default_rng(0)
    first, second = (tf.constant(rng.normal(size=size), tf.float32) for size in ((5, 7), (7, 3)))

    @tf.function(input_signature=[tf.TensorSpec((1, 5), tf.float32)])
    def function(x):
        return tf.matmul(tf.nn.relu(tf.matmul(x, first)), second)

    function = function.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([function]).convert()


def weight_offsets(content):
    model = schema.Model.GetRootAs(content)
    buffers = map(model.Buffers, range(model.BuffersLength()))
    return [b._tab.Vector(b._tab.Offset(4)) for b in buffers if b.DataLength()]


def test_a_packed_model_computes_the_same_from_aligned_weights(output):
    content = two_layers()
    packed = pack(unpack(content))
    x = np.random.default_rng(1).normal(size=(1, 5)).astype(np.float32)
    np.testing.assert_array_equal(output(packed, x), output(content, x))
    offsets = weight_offsets(packed)
    assert len(offsets) >= 2
    assert {offset % 16 for offset in offsets} == {0}


def test_operators_have_their_codes():
    model = unpack(two_layers())
    codes = {operator_code(model, operator) for operator in model.subgraphs[0].operators}
    assert codes == {schema.BuiltinOperator.FULLY_CONNECTED}
