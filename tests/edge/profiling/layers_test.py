import json
from math import prod

import pytest

from common.cli import UserError
from edge.profiling.layers import KINDS, kind_of, read_layers

INT8, FLOAT = "deployment_int8_ptq.tflite", "deployment_float32.tflite"


@pytest.mark.parametrize("name", [INT8, FLOAT])
def test_multiply_adds_are_the_network_s(artifact_dir, name):
    layers = read_layers(artifact_dir / name)
    manifest = json.loads((artifact_dir / "manifest.json").read_text())
    assert sum(layer.macs for layer in layers) == manifest["model"]["macs"]
    assert {layer.kind for layer in layers} <= set(KINDS)


def test_memory_access_cost_is_v2_s_formula(artifact_dir):
    layers = {layer.name: layer for layer in read_layers(artifact_dir / INT8)}
    (name,) = [name for name in layers if "stage2_unit2_pointwise1" in name]
    layer = layers[name]
    _, height, width, c2 = layer.output_shape
    c1 = c2  # The unit's main path has the same number of channels at its input and output.
    assert layer.macs == height * width * c1 * c2
    assert layer.memory_access_cost == height * width * (c1 + c2) + c1 * c2
    # int8 weights and activations, and an int32 bias.
    assert layer.memory_bytes == layer.memory_access_cost + 4 * c2


def test_float_values_have_four_bytes(artifact_dir):
    by_name = {name: read_layers(artifact_dir / name) for name in (INT8, FLOAT)}
    concatenations = [
        [layer.memory_bytes for layer in layers if layer.operator == "CONCATENATION"]
        for layers in by_name.values()
    ]
    assert concatenations[0] and concatenations[1] == [4 * size for size in concatenations[0]]


def test_a_slice_reads_what_it_writes(artifact_dir):
    for layer in read_layers(artifact_dir / INT8):
        if layer.operator == "STRIDED_SLICE":
            assert layer.memory_access_cost == 2 * prod(layer.output_shape)


def test_kinds():
    assert kind_of("TRANSPOSE") == "data movement"
    assert kind_of("DEPTHWISE_CONV_2D") == "depthwise"
    assert kind_of("CUSTOM:mine") == "other"


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "bad.tflite"
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"bad\.tflite is not a \.tflite model"):
        read_layers(path)
