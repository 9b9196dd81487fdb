import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest

from common.cli import UserError
from converters.conversion.tflite import convert_fake_quant
from converters.diagnosis import agreement
from converters.diagnosis.agreement import (
    AgreementReport,
    Difference,
    OperatorAgreement,
    measure,
    pair_names,
    summary,
)
from converters.diagnosis.instrument import Tensor
from converters.diagnosis.quantized_network import QuantizedNetwork
from converters.diagnosis.runtimes import LiteRTRuntime
from converters.diagnosis.settings import ReportConfig
from converters.diagnosis.simulation import Simulation
from converters.graph.deployment import deployment_graph
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import fake_quant_model
from keras_shufflenet import ShuffleNetV1, ShuffleNetV2
from keras_shufflenet.keras_internals import flat_layers

pytestmark = pytest.mark.medium

PAIR = "xnnpack-reference"


def randomize(model, seed):
    """Gives every BatchNormalization random weights and statistics."""
    rng = np.random.default_rng(seed)
    for layer in flat_layers(model):
        if isinstance(layer, keras.layers.BatchNormalization):
            n = layer.gamma.shape[0]
            uniform, normal = rng.uniform(0.5, 1.5, (2, n)), rng.normal(0, 0.3, (2, n))
            layer.set_weights([uniform[0], *normal, uniform[1]])
    return model


def quantized(model, images=12):
    randomize(model, 1)
    rng = np.random.default_rng(2)
    inputs = rng.uniform(-1, 1, (images, *model.input_shape[1:])).astype(np.float32)
    graph = deployment_graph(model)
    fake_quant = fake_quant_model(graph, calibrate(graph, inputs))
    logits = np.asarray(model(inputs))
    return QuantizedNetwork("a test", graph, fake_quant, inputs, logits.argmax(-1), logits)


def first_images(network, count):
    return dataclasses.replace(
        network,
        inputs=network.inputs[:count],
        labels=network.labels[:count],
        float_logits=network.float_logits[:count],
    )


def small_v1():
    return ShuffleNetV1(
        0.25,
        groups=2,
        input_shape=(32, 32, 3),
        small_images=True,
        se=True,
        units_per_stage=(2, 1, 1),
        classes=7,
        classifier_activation=None,
    )


def small_v2():
    return ShuffleNetV2(
        input_shape=(32, 32, 3),
        small_images=True,
        padding="symmetric",
        units_per_stage=(3, 1, 1),
        stage_channels=(16, 32, 48),
        head_channels=64,
        classes=7,
        classifier_activation=None,
    )


def report_of(*operators):
    """A report of operators given as (name, max LSB end to end, max LSB on equal inputs)."""
    rows = [
        OperatorAgreement(
            name,
            "CONV_2D",
            0.1,
            {PAIR: Difference(whole, 0.5, 0.9, 10)},
            {PAIR: Difference(alone, 0.9, 1.0, 10)},
            {"xnnpack": 0.5, "reference": 0.7},
        )
        for name, whole, alone in operators
    ]
    runtime = {"description": "words", "accuracy": 1.0, "same_class_as_float": 1.0}
    runtimes = {"xnnpack": runtime, "reference": runtime}
    logits, argmax = {PAIR: Difference(1, 0.5, 1.0, 10)}, {PAIR: 1.0}
    return AgreementReport("a test", 1, runtimes, {}, logits, argmax, rows, True)


def test_difference_of_integers_made_by_hand():
    # 127 and -128 are 255 apart; in int8 arithmetic they would be 1 apart.
    first, second = np.int8([[0, 1, 127, 5]]), np.int8([[0, 2, -128, 7]])
    difference = Difference.between(first, second)
    assert difference == Difference(max_lsb=255, exact=0.25, within_1_lsb=0.5, values=4)
    difference.add(Difference.between(np.int8([3]), np.int8([3])))
    assert difference == Difference(max_lsb=255, exact=0.4, within_1_lsb=0.6, values=5)


def test_adding_to_an_empty_difference_gives_the_other():
    total = Difference()
    total.add(Difference(2, 0.25, 0.75, 4))
    assert total == Difference(2, 0.25, 0.75, 4)


def test_every_pair_occurs_once():
    assert pair_names(["a", "b", "c"]) == {"a-b": ("a", "b"), "a-c": ("a", "c"), "b-c": ("b", "c")}


def test_names_the_first_layer_in_both_comparisons():
    report = report_of(("stem", 1, 1), ("conv", 2, 1), ("pool", 5, 2), ("last", 9, 3))
    assert report.first_beyond(PAIR, "end_to_end").name == "conv"
    assert report.first_beyond(PAIR, "equal_inputs").name == "pool"
    assert report.first_beyond(PAIR, "equal_inputs", lsb=3) is None
    first = report.as_json()["first_beyond_1_lsb"]
    assert first == {"end_to_end": {PAIR: "conv"}, "equal_inputs": {PAIR: "pool"}}
    assert "an operator differs by more than 1 LSB: xnnpack-reference" in summary(report)


def test_summary_without_differences():
    text = summary(report_of(("stem", 1, 1)))
    assert "On equal inputs no operator differs by more than 1 LSB." in text


def test_tensor_rounds_and_saturates():
    tensor = Tensor("stem", "CONV_2D", scale=0.5, zero_point=-3)
    np.testing.assert_array_equal(
        tensor.quantize(np.float32([0, 0.7, 100, -100])), [-3, -2, 127, -128]
    )
    np.testing.assert_array_equal(tensor.position(np.float32([0.7, 100])), np.float32([-1.6, 127]))
    np.testing.assert_array_equal(tensor.dequantize(np.int8([-3, 127])), np.float32([0, 65]))


@pytest.fixture(scope="module", params=[small_v1, small_v2], ids=["v1", "v2"])
def network(request):
    return quantized(request.param())


@pytest.fixture(scope="module")
def converted_once(network):
    """Converts once: conversion takes most of the time, and the file is always the same."""
    content = convert_fake_quant(network.model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agreement, "convert_fake_quant", lambda model: content)
        yield


@pytest.fixture(scope="module")
def report(network, converted_once):
    return measure(network)


def test_simulation_is_the_fake_quant_model(network):
    simulation = Simulation(network.graph, network.model)
    expected = network.model.predict(network.inputs, verbose=0)
    np.testing.assert_allclose(simulation.output(network.inputs), expected, rtol=0, atol=1e-6)
    plain = simulation.output(network.inputs, weights=(), activations=())
    tolerance = 1e-4 * network.float_logits.std()
    np.testing.assert_allclose(plain, network.float_logits, rtol=0, atol=tolerance)
    # Switching quantization on again must restore every weight.
    np.testing.assert_allclose(simulation.output(network.inputs), expected, rtol=0, atol=1e-6)


def test_every_operator_rounds_within_1_lsb_on_equal_inputs(report):
    assert report.unchanged
    assert not report.missing
    assert list(report.runtimes) == ["simulation", "xnnpack", "reference", "micro"]
    for operator in report.operators:
        for pair, difference in operator.equal_inputs.items():
            assert difference.max_lsb <= 1, (operator.name, pair)
        assert operator.rounding["simulation"] <= 0.501, operator.name
        # These round to nearest; the reference kernels of other kinds are coarser.
        convolution = operator.operator in ("CONV_2D", "DEPTHWISE_CONV_2D")
        assert max(operator.rounding.values()) <= (0.53 if convolution else 1.0), operator.name


def test_operators_have_the_graphs_names(network, report):
    names = {operator.name for operator in report.operators}
    assert names == set(network.graph.ops) - {"image"}


def test_micro_equals_the_reference_kernels_but_for_ties(report):
    """TFLite Micro scales a fully connected layer with other integers than LiteRT."""
    for operator in report.operators:
        allowed = 1 if operator.operator == "FULLY_CONNECTED" else 0
        assert operator.equal_inputs["reference-micro"].max_lsb <= allowed, operator.name


def test_an_operator_that_computes_differently_is_named(network, converted_once, monkeypatch):
    """On equal inputs a wrong kernel must show at its operator and nowhere else."""
    victim = next(name for name in network.graph.ops if name.endswith("depthwise"))

    class Damaged(Simulation):
        def _apply(self, op, inputs):
            x = super()._apply(op, inputs)
            return x * 1.5 if op.name == victim else x

    monkeypatch.setattr(agreement, "Simulation", Damaged)
    report = measure(first_images(network, 2))
    assert report.first_beyond("simulation-reference", "equal_inputs").name == victim
    beyond = [o.name for o in report.operators if o.equal_inputs["simulation-xnnpack"].max_lsb > 1]
    assert beyond == [victim]
    assert report.first_beyond("xnnpack-reference", "equal_inputs") is None


def test_damaged_file_is_rejected():
    with pytest.raises(UserError, match="LiteRT cannot load the file"):
        LiteRTRuntime(b"\0" * 64, "AUTO")


@pytest.mark.slow
def test_command(run_cli, trained_workdir, tmp_path):
    done = run_cli(
        "converters.agreement",
        f"--model={trained_workdir}",
        "--images=12",
        "--ranges=minmax",
        "--calibration_images=32",
        f"--output={tmp_path / 'report'}",
    )
    assert "On equal inputs no operator differs by more than 1 LSB." in done.stdout
    assert "deployment graph for cpu, minmax ranges; 12 images, 132 operators" in done.stdout
    assert not done.stderr.strip()
    report = json.loads((tmp_path / "report" / "agreement.json").read_text())
    assert report["images"] == 12 and report["unchanged"]
    assert report["argmax"]["reference-micro"] == 1.0
    assert set(report["first_beyond_1_lsb"]["equal_inputs"].values()) == {None}
    lines = (tmp_path / "report" / "operators.txt").read_text().splitlines()
    assert len(lines) == 1 + len(report["operators"]) and lines[1].startswith("stem ")


SETTINGS = {
    "model": Path("work"),
    "qat": None,
    "target": None,
    "ranges": None,
    "images": 100,
    "calibration_images": 256,
    "output": None,
}


@pytest.mark.parametrize(
    "wrong, part",
    [
        ({"ranges": "best"}, "--ranges must be one of minmax, .*received 'best'"),
        ({"target": "gpu"}, "--target must be one of cpu, .*received 'gpu'"),
        ({"images": 0}, "--images must be at least 1; received 0"),
        ({"calibration_images": 3}, "--calibration_images must be at least 32; received 3"),
        ({"qat": Path("q"), "ranges": "mse"}, "--ranges is fixed by the training in --qat"),
        ({"qat": Path("q"), "target": "cpu"}, "--target is fixed by the training in --qat"),
    ],
)
def test_config_names_the_wrong_flag(wrong, part):
    ReportConfig(**SETTINGS)
    with pytest.raises(UserError, match=part):
        ReportConfig(**{**SETTINGS, **wrong})


@pytest.mark.parametrize(
    "flags, part",
    [
        ([], "--model is missing"),
        (["--model=nowhere"], "workdir nowhere is not a folder"),
        (["--model=x", "--output=/dev/null/x"], "Not a directory"),
    ],
)
def test_mistakes_are_reported_in_one_line(run_cli, flags, part):
    done = run_cli("converters.agreement", *flags, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert part in done.stderr


def test_a_keras_file_is_compared_and_its_artifact_refused(run_cli, digits_folder, tmp_path):
    image = keras.Input((32, 32, 3))
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = keras.layers.Conv2D(8, 3, strides=2, activation="hard_swish")(x)
    # Called twice: the file has one copy of its weights.
    twice = keras.layers.Conv2D(8, 3, padding="same", activation="relu")
    x = twice(twice(x))
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    x = x * keras.layers.Conv2D(8, 1, activation="sigmoid")(gate)
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(image, keras.layers.Dense(3, activation="softmax")(x)).save(tmp_path / "net.keras")
    given = ["--model=net.keras", f"--data_dir={digits_folder}", "--images=6"]
    given.append("--calibration_images=32")
    done = run_cli("converters.agreement", *given)
    assert "On equal inputs no operator differs by more than 1 LSB." in done.stdout
    assert "deployment graph for cpu, mse ranges; 6 images" in done.stdout
    done = run_cli("converters.layer_error", *given)
    assert "6 images" in done.stdout and "worst first" in done.stdout

    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact/manifest.json").write_text("{}")
    done = run_cli("converters.layer_error", "--model=artifact", check=False)
    assert "artifact is an artifact, without the graph" in done.stderr
    signal = keras.Input((16,))
    keras.Model(signal, keras.layers.Dense(2)(signal)).save(tmp_path / "net.keras")
    np.savez(tmp_path / "signals.npz", np.random.default_rng(0).normal(size=(80, 16)))
    done = run_cli("converters.agreement", given[0], "--inputs=signals.npz", check=False)
    assert "net.keras is no classifier of one input with known classes" in done.stderr
