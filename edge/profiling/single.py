"""Each operator of a .tflite file as a separate file, for a runtime without a profiler.

This times the operator alone: fusions with its neighbours are lost, and each time includes the cost
of a call. So the sum is more than the time of the network.
"""

import copy
import os
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from common.cli import UserError
from common.console.quiet import quiet_stderr
from common.tflite import flatbuffer
from common.tflite.operators import damage_reported


def operator_files(path: str | os.PathLike) -> list[bytes | None]:
    """Returns one .tflite file's content per operator, with the operator's weights and shapes.

    Operators that only prepare constants (such as float16 weights converted to float32) are in the
    files of the operators that use them.

    Args:
      path: the .tflite file; it must have one subgraph, checked by `common.tflite.operators`.

    Returns:
      One content per operator, in the file's order; None for an operator that only depends on
      constants.
    """
    with damage_reported(path):
        return _operator_files(flatbuffer.unpack(Path(path).read_bytes()))


def _operator_files(model: schema.ModelT) -> list[bytes | None]:
    graph = model.subgraphs[0]
    constant = {
        index
        for index, tensor in enumerate(graph.tensors)
        if (data := model.buffers[tensor.buffer].data) is not None and len(data)
    }
    preparing: list[schema.OperatorT] = []
    files: list[bytes | None] = []
    for operator in graph.operators:
        inputs = [index for index in operator.inputs if index >= 0]
        if all(index in constant for index in inputs):
            constant.update(operator.outputs)
            preparing.append(operator)
            files.append(None)
        else:
            wanted = [one for one in preparing if set(one.outputs) & set(inputs)]
            computed = [index for index in dict.fromkeys(inputs) if index not in constant]
            files.append(flatbuffer.pack(_part(model, [*wanted, operator], computed)))
    return files


def _part(
    model: schema.ModelT, operators: list[schema.OperatorT], inputs: list[int]
) -> schema.ModelT:
    """Returns a model with only these operators, whose inputs are the tensors `inputs`."""
    whole = model.subgraphs[0]
    used = dict.fromkeys(
        int(index) for one in operators for index in (*one.inputs, *one.outputs) if index >= 0
    )
    place = {index: new for new, index in enumerate(used)}
    part = schema.ModelT()
    part.version = model.version
    part.operatorCodes = [model.operatorCodes[one.opcodeIndex] for one in operators]
    part.buffers = [schema.BufferT()]  # In this format, the first buffer is empty.
    graph = schema.SubGraphT()
    graph.tensors = []
    for index in used:
        tensor = copy.copy(whole.tensors[index])
        part.buffers.append(model.buffers[tensor.buffer])
        tensor.buffer = len(part.buffers) - 1
        graph.tensors.append(tensor)
    graph.inputs = [place[index] for index in inputs]
    graph.outputs = [place[int(index)] for index in operators[-1].outputs]
    graph.operators = [_moved(one, code, place) for code, one in enumerate(operators)]
    part.subgraphs = [graph]
    return part


def _moved(operator: schema.OperatorT, code: int, place: dict[int, int]) -> schema.OperatorT:
    """Returns the operator with its tensors' new indices; -1, an omitted input, stays -1."""
    moved = copy.copy(operator)
    moved.opcodeIndex = code
    moved.inputs = [place.get(int(index), -1) for index in operator.inputs]
    moved.outputs = [place[int(index)] for index in operator.outputs]
    return moved


class SingleOperator:
    """One operator, loaded, with inputs, ready to run.

    Args:
      content: a file's content from `operator_files`.
      threads: threads of the CPU kernels.
      rng: generates the inputs.

    Raises:
      UserError: LiteRT refuses it.
    """

    def __init__(self, content: bytes, threads: int, rng: np.random.Generator):
        try:
            with quiet_stderr():
                self._interpreter = Interpreter(model_content=content, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise UserError(f"LiteRT cannot run an operator alone: {error}") from error
        for detail in self._interpreter.get_input_details():
            self._interpreter.set_tensor(detail["index"], _noise(detail, rng))
        self.run = self._interpreter.invoke


def _noise(detail: dict, rng: np.random.Generator) -> np.ndarray:
    if np.issubdtype(detail["dtype"], np.floating):
        return rng.uniform(-1, 1, detail["shape"]).astype(detail["dtype"])
    limits = np.iinfo(detail["dtype"])
    return rng.integers(max(limits.min, -100), min(limits.max, 100), detail["shape"]).astype(
        detail["dtype"]
    )
