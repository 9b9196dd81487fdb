"""The deployment graph as an ONNX model, in float32 or in int8 with our ranges."""

from collections.abc import Mapping

import onnx
from onnx import helper

from common.cli import UserError
from converters.graph.operations import Graph
from converters.graph.operator import Op
from converters.onnx_target.int8 import Int8
from converters.onnx_target.layout import absorbed_pads
from converters.onnx_target.operators import OPERATORS, add_activation
from converters.onnx_target.runtime import LAYOUT
from converters.onnx_target.writer import Writer
from converters.options import ONNX_LAYOUTS
from converters.quantization.fake_quantization import Range

# The oldest with one scale for each channel: compilers of devices follow slowly.
OPSET, IR_VERSION = 13, 7
_NAME = "keras_shufflenet"


def onnx_model(
    graph: Graph,
    ranges: Mapping[str, Range] | None = None,
    layout: str = "nchw",
    weight_bits: int = 8,
) -> onnx.ModelProto:
    """Returns a graph as an ONNX model with a batch of one and float32 inputs and outputs.

    Args:
      graph: the deployment graph.
      ranges: (minimum, maximum) by the name of the scale, as calibration returns them, for int8:
        QuantizeLinear and DequantizeLinear around every operator, weights in int8. None: float32.
      layout: of inputs and outputs that are maps: "nchw" (batch, channels, height, width) or
        "nhwc". Between them maps are channels first, as ONNX's operators are.
      weight_bits: of int8: 8, as in .tflite files, or 7, for x86 CPUs that add two products of 8
        bits in 16 (docs/onnx.md).

    Raises:
      UserError: an operator has no ONNX nodes; the message names it.
      ValueError: an unknown layout.

    Examples:
      >>> onnx.save(onnx_model(graph, calibrate(graph, images)), "model_int8.onnx")
    """
    if layout not in ONNX_LAYOUTS:
        raise ValueError(f"`layout` must be one of {ONNX_LAYOUTS}. Received: layout={layout!r}")
    int8 = None if ranges is None else Int8(graph, ranges, weight_bits)
    writer = Writer(graph, int8, channels_last=layout == "nhwc")
    inputs = [writer.add_input(graph.ops[name]) for name in graph.inputs]
    absorbed = absorbed_pads(graph)
    for op in graph.ops.values():
        if op.kind != "input" and op.name not in absorbed:
            _add_operator(writer, op)
    outputs = [
        writer.add_output(graph.ops[name], index) for index, name in enumerate(graph.outputs)
    ]
    content = helper.make_graph(writer.nodes, _NAME, inputs, outputs, writer.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(
        content, opset_imports=opsets, ir_version=IR_VERSION, producer_name=_NAME
    )
    helper.set_model_props(model, {LAYOUT: layout})
    onnx.checker.check_model(model, full_check=True)
    return model


def _add_operator(writer: Writer, op: Op) -> None:
    if op.kind not in OPERATORS:
        raise UserError(
            f"operator {op.name!r} is of the kind {op.kind!r}, which has no ONNX nodes; convert "
            "without the quantizations that begin with onnx"
        )
    OPERATORS[op.kind](writer, op, writer.computed(op))
    if op.activation:
        add_activation(writer, op.activation, writer.computed(op), writer.activated(op))
    writer.round(op, writer.activated(op), writer.tensor(op.name))
