import keras
import numpy as np

from keras_shufflenet.keras_internals import LossScaleHooks, OptimizerHooks, flat_layers, producer
from keras_shufflenet.layers import SqueezeExcite

CHANGED = (
    f"keras {keras.__version__} has changed its private interface: adapt "
    "keras_shufflenet/keras_internals.py, or lower the bound in setup.py. "
)


class Counting(OptimizerHooks, keras.optimizers.SGD):
    asked = 0

    def sums_gradients(self):
        self.asked += 1
        return False


class Overflows(LossScaleHooks, keras.optimizers.LossScaleOptimizer):
    count = 0

    def after_overflow(self):
        self.count += 1


def test_layers_inside_of_layers_are_found():
    model = keras.Sequential([keras.Input((2, 2, 16)), SqueezeExcite(name="gate")])
    names = [layer.name for layer in flat_layers(model)]
    assert {"gate", "reduce", "expand"} <= set(names), f"{CHANGED}_flatten_layers gives {names}"


def test_the_producer_of_a_tensor_is_found():
    image = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    doubled = keras.layers.Rescaling(2.0)(image)
    operation, inputs = producer(inner(doubled))
    assert operation is inner and inputs == [doubled], f"{CHANGED}_keras_history or _inbound_nodes"


def test_optimizers_are_hooked_into():
    variables = [keras.Variable(np.ones(2, np.float32)) for _ in range(2)]
    optimizer = Counting(0.5)
    optimizer.build(variables)
    indices = [optimizer.variable_index(variable) for variable in variables]
    assert indices == [0, 1], f"{CHANGED}_get_variable_index gives {indices}"
    optimizer.apply([keras.ops.ones(2)] * 2, variables)
    assert optimizer.asked == 1, f"{CHANGED}_all_reduce_sum_gradients is not called once"
    np.testing.assert_allclose(variables[0], [0.5, 0.5])


def test_an_overflow_is_hooked_into():
    variable = keras.Variable(1.0)
    optimizer = Overflows(keras.optimizers.SGD(0.5))
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor(float("inf"))], [variable])
    optimizer.apply([keras.ops.convert_to_tensor(1.0)], [variable])
    assert optimizer.count == 1, f"{CHANGED}_stateful_handle_non_finite_grads is not called once"
