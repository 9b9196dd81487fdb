"""What can be known without a TPU of a step that is to run on one.

A TPU runs what XLA compiles ahead: every shape must be known, and nothing may need the host.
"""

import dataclasses
from collections.abc import Iterator

import tensorflow as tf

# Private, but the only place that says which operators XLA has.
from tensorflow.python.framework import kernels

from trainers.config import TrainConfig
from trainers.loop import Trainer
from trainers.mixing import mixes
from trainers.sources import Source
from trainers.task import Task

# What only brings a function its arguments.
_ARGUMENTS = {"Placeholder"}


@dataclasses.dataclass(frozen=True)
class StepReport:
    """What a training step consists of.

    Attributes:
      operators: how many, those of called functions included.
      host: types of those that XLA cannot compile: they need the host.
      dynamic: names of tensors of unknown shape.
    """

    operators: int
    host: tuple[str, ...]
    dynamic: tuple[str, ...]

    @property
    def runs_on_tpu(self) -> bool:
        """Whether nothing was found that speaks against it."""
        return not (self.host or self.dynamic)


def training_step(
    config: TrainConfig, channels: int, classes: int, jit_compile: bool | None = None
) -> tuple[tf.types.experimental.ConcreteFunction, Trainer]:
    """Returns the step of one device as a graph, with its trainer; no data is needed.

    Args:
      config: of the training, for one device.
      channels, classes: of the images.
      jit_compile: True: XLA compiles it on the first call.
    """
    names = tuple(map(str, range(classes)))
    source = Source(names, num_examples=config.batch_size, channels=channels)
    trainer = Trainer(Task(config), tf.distribute.get_strategy(), source, source)
    size = config.training_size
    images = tf.TensorSpec([config.batch_size, size, size, channels], tf.float32)
    labels = tf.TensorSpec([config.batch_size], tf.int64)
    if mixes(config):
        labels = tf.TensorSpec([config.batch_size, classes], tf.float32)
    step = tf.function(trainer.replica_step, jit_compile=jit_compile)
    return step.get_concrete_function(images, labels), trainer


def inspect_step(function: tf.types.experimental.ConcreteFunction) -> StepReport:
    """Looks for operators of the host and for shapes that are not known.

    Args:
      function: a traced step, such as that of `training_step`.

    Examples:
      >>> function, _ = training_step(make_config("cifar10", "w", {}), channels=3, classes=10)
      >>> inspect_step(function).runs_on_tpu
      True
    """
    # XLA registers its operators when it is first used.
    tf.function(lambda: tf.constant(0) + 1, jit_compile=True)()
    operations = list(_operations(function.graph))
    host = {operation.type for operation in operations if not _is_compiled(operation.type)}
    dynamic = [
        tensor.name
        for operation in operations
        for tensor in operation.outputs
        if tensor.dtype != tf.resource and not tensor.shape.is_fully_defined()
        if not _is_scratch(tensor)
    ]
    return StepReport(len(operations), tuple(sorted(host - _ARGUMENTS)), tuple(dynamic))


def _operations(graph: tf.Graph) -> Iterator[tf.Operation]:
    """Yields the operators of a graph and of the functions that it calls."""
    yield from graph.get_operations()
    for definition in graph.as_graph_def().library.function:
        yield from graph._get_function(definition.signature.name).graph.get_operations()


def _is_scratch(tensor: tf.Tensor) -> bool:
    """Whether it is the workspace of GPUs' BatchNorm, which is empty elsewhere, or its gradient."""
    kind = tensor.op.type
    if kind == "ZerosLike":
        return _is_scratch(tensor.op.inputs[0])
    return kind == "FusedBatchNormV3" and tensor.value_index == len(tensor.op.outputs) - 1


def _is_compiled(kind: str) -> bool:
    registered = kernels.get_registered_kernels_for_op(kind).kernel
    return any(kernel.device_type.startswith("XLA_") for kernel in registered)
