"""Checks, without a TPU, that a TPU could run a training step.

A TPU runs what XLA has compiled before: every shape must be known, and nothing may need the host.
"""

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

# Private, but the only list of the operators that XLA has.
from tensorflow.python.framework import kernels

import keras_shufflenet
from trainers.config import TrainConfig
from trainers.data.images.mixing import mixes
from trainers.data.sources import Source
from trainers.loop import Trainer
from trainers.recipes import make_config
from trainers.task import Task

pytestmark = pytest.mark.medium

# Operators that only pass arguments to a function.
_ARGUMENTS = {"Placeholder"}


@dataclasses.dataclass(frozen=True)
class StepReport:
    """The operators and shapes of a training step.

    Attributes:
      operators: number of operators, including those of called functions.
      host: types of the operators that XLA cannot compile: they need the host.
      dynamic: names of tensors with unknown shape.
    """

    operators: int
    host: tuple[str, ...]
    dynamic: tuple[str, ...]

    @property
    def runs_on_tpu(self) -> bool:
        """Whether no operator and no shape prevents it."""
        return not (self.host or self.dynamic)


def training_step(
    config: TrainConfig, channels: int, classes: int, jit_compile: bool | None = None
) -> tuple[tf.types.experimental.ConcreteFunction, Trainer]:
    """Returns the step of one device as a graph, and its trainer; needs no data.

    Args:
      config: of the training, for one device.
      channels, classes: of the images.
      jit_compile: True: XLA compiles the step on the first call.
    """
    names, batch = tuple(map(str, range(classes))), config.optimization.batch_size
    source = Source(names, num_examples=batch, channels=channels)
    trainer = Trainer(Task(config), tf.distribute.get_strategy(), source, source)
    size = config.images.training_size
    images = tf.TensorSpec([batch, size, size, channels], tf.float32)
    labels = tf.TensorSpec([batch], tf.int64)
    if mixes(config.augmentation):
        labels = tf.TensorSpec([batch, classes], tf.float32)
    step = tf.function(trainer.replica_step, jit_compile=jit_compile)
    return step.get_concrete_function(images, labels), trainer


def inspect_step(function: tf.types.experimental.ConcreteFunction) -> StepReport:
    """Finds operators that need the host, and unknown shapes.

    Args:
      function: a traced step, such as that of `training_step`.
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


SIZE, BATCH = 32, 8
SMALL = {"units_per_stage": (1, 1, 1), "stage_channels": (8, 16, 24), "head_channels": 16}
EVERYTHING = {"mixup": 0.2, "cutmix": 1.0, "label_smoothing": 0.1, "precision": "mixed_bfloat16"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The file of a network that XLA compiles in seconds."""
    path = tmp_path_factory.mktemp("tpu") / "small.keras"
    keras_shufflenet.ShuffleNetV2(
        input_shape=(SIZE, SIZE, 3), classes=10, small_images=True, classifier_activation=None,
        **SMALL,
    ).save(path)  # fmt: skip
    return str(path)


def config(folder, **values):
    return make_config("cifar10", str(folder / "work"), {"batch_size": BATCH, **values})


def test_a_step_has_static_shapes_and_nothing_for_the_host(tmp_path, small):
    function, trainer = training_step(config(tmp_path, model=small), 3, 10)
    report = inspect_step(function)
    assert report.runs_on_tpu and (report.host, report.dynamic) == ((), ())
    assert report.operators > 500
    # The graph has the whole step: gradients, momentum and BatchNorm's statistics.
    kinds = {operation.type for operation in function.graph.get_operations()}
    assert {"DepthwiseConv2dNativeBackpropFilter", "AssignVariableOp", "ReadVariableOp"} <= kinds
    assert not (tmp_path / "work").exists() and trainer.optimizer.iterations == 0


@pytest.mark.slow
@pytest.mark.parametrize("model", ["shufflenet_v1", "shufflenet_v2"])
@pytest.mark.parametrize("recipe", ["cifar10", "shufflenet_v2_paper", "torchvision_600"])
def test_the_recipes_steps_run_on_a_tpu(tmp_path, recipe, model):
    values = {"batch_size": BATCH, "model": model, "scale": 0.5, **EVERYTHING}
    made = make_config(recipe, str(tmp_path), values)
    assert inspect_step(training_step(made, 3, 10)[0]).runs_on_tpu


@pytest.mark.parametrize(
    ("change", "host", "dynamic"),
    [
        (lambda x: tf.numpy_function(np.sin, [x], tf.float32), ("PyFunc",), 1),
        (
            lambda x: tf.strings.to_number(tf.strings.as_string(x)),
            ("AsString", "StringToNumber"),
            0,
        ),
        (lambda x: tf.boolean_mask(x, x > 0), (), 1),
        (
            lambda x: tf.map_fn(lambda y: tf.py_function(abs, [y], tf.float32), x),
            ("EagerPyFunc",),
            1,
        ),
    ],
    ids=["numpy", "strings", "dynamic", "in a loop"],
)
def test_what_does_not_run_on_a_tpu_is_found(change, host, dynamic):
    function = tf.function(change).get_concrete_function(tf.TensorSpec([4], tf.float32))
    report = inspect_step(function)
    assert set(host) <= set(report.host) and len(report.dynamic) >= dynamic
    assert not report.runs_on_tpu


@pytest.mark.slow
def test_xla_compiles_the_step_to_the_same_weights(tmp_path, small):
    rng = np.random.default_rng(0)
    images = tf.constant(rng.normal(size=(BATCH, SIZE, SIZE, 3)), tf.float32)
    labels = tf.constant(rng.integers(0, 10, BATCH))
    weights = []
    for compiled in (True, False):
        made = config(tmp_path, model=small, warmup_epochs=0.0)
        function, trainer = training_step(made, 3, 10, jit_compile=compiled)
        start = [weight.numpy() for weight in trainer.model.weights]
        loss = function(images, labels)
        weights.append([loss.numpy(), *(weight.numpy() for weight in trainer.model.weights)])
    assert max(np.abs(a - b).max() for a, b in zip(start, weights[0][1:], strict=True)) > 1e-3
    for mine, theirs in zip(*weights, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-5)
    assert keras.config.floatx() == "float32"
