import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from common.cli import UserError
from common.tflite import flatbuffer
from edge.profiling.single import SingleOperator, operator_files

INT8 = "deployment_int8_ptq.tflite"


def load(**model):
    """With the reference kernels, so that the same operator gives the same bits anywhere."""
    interpreter = Interpreter(**model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    return interpreter


def test_an_operator_alone_computes_what_it_computes_in_the_network(artifact_dir):
    path = artifact_dir / INT8
    whole = load(model_path=str(path), experimental_preserve_all_tensors=True)
    (detail,) = whole.get_input_details()
    x = np.random.default_rng(0).integers(-128, 128, detail["shape"]).astype(np.int8)
    whole.set_tensor(detail["index"], x)
    whole.invoke()
    graph = flatbuffer.unpack(path.read_bytes()).subgraphs[0]
    names = {tensor.name: index for index, tensor in enumerate(graph.tensors)}
    files = operator_files(path)
    assert len(files) == len(graph.operators) and None not in files
    for operator, content in zip(graph.operators, files, strict=True):
        alone = load(model_content=content)
        for detail in alone.get_input_details():
            tensor = names[detail["name"].encode()]
            alone.set_tensor(detail["index"], whole.get_tensor(tensor))
        alone.invoke()
        (output,) = alone.get_output_details()
        expected = whole.get_tensor(int(operator.outputs[0]))
        np.testing.assert_array_equal(alone.get_tensor(output["index"]), expected)


def test_prepared_constants_come_along(tmp_path):
    path = tmp_path / "half.tflite"
    path.write_bytes(flatbuffer.pack(model_with_half_weights()))
    nothing, content = operator_files(path)
    assert nothing is None  # The weights' conversion depends on no input.
    alone = load(model_content=content)
    (x,), (y,) = alone.get_input_details(), alone.get_output_details()
    alone.set_tensor(x["index"], np.float32([1, 2]))
    alone.invoke()
    np.testing.assert_array_equal(alone.get_tensor(y["index"]), np.float32([1.5, 2.25]))


def test_noise_runs_and_a_bad_file_is_refused(artifact_dir):
    rng = np.random.default_rng(0)
    SingleOperator(operator_files(artifact_dir / INT8)[0], 1, rng).run()
    with pytest.raises(UserError, match="LiteRT cannot run an operator alone"):
        SingleOperator(b"0000TFL3" + bytes(64), 1, rng)


def model_with_half_weights():
    """x + float32(float16 weights): DEQUANTIZE of a constant, then ADD."""
    types, codes = schema.TensorType, schema.BuiltinOperator
    data = np.frombuffer(np.float16([0.5, 0.25]).tobytes(), np.uint8)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version = 3
    model.buffers = [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = data
    graph.tensors = []
    kinds = (types.FLOAT32, 0), (types.FLOAT16, 1), (types.FLOAT32, 0), (types.FLOAT32, 0)
    for name, (kind, buffer) in zip("xhwy", kinds, strict=True):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [2], kind, buffer
        graph.tensors.append(tensor)
    model.operatorCodes, graph.operators = [], []
    for index, (code, inputs, output) in enumerate(
        [(codes.DEQUANTIZE, [1], 2), (codes.ADD, [0, 2], 3)]
    ):
        operator_code, operator = schema.OperatorCodeT(), schema.OperatorT()
        operator_code.builtinCode = operator_code.deprecatedBuiltinCode = code
        operator_code.version = 1
        operator.opcodeIndex, operator.inputs, operator.outputs = index, inputs, [output]
        model.operatorCodes.append(operator_code)
        graph.operators.append(operator)
    graph.operators[1].builtinOptionsType = schema.BuiltinOptions.AddOptions
    graph.operators[1].builtinOptions = schema.AddOptionsT()
    graph.inputs, graph.outputs = [0], [3]
    model.subgraphs = [graph]
    return model
