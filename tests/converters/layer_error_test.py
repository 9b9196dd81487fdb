import dataclasses
import json

import numpy as np
import pytest

from converters.diagnosis.layer_error import (
    LayerErrorReport,
    Part,
    SignalToNoise,
    advice,
    measure,
    save_picture,
    table,
)
from converters.diagnosis.quantized_network import QuantizedNetwork
from converters.graph.deployment import deployment_graph
from converters.quantization.calibration import calibrate
from converters.quantization.fake_quantization import fake_quant_model
from keras_shufflenet import ShuffleNetV2

pytestmark = pytest.mark.medium

# An operator in the middle of `small_network` with its own range.
VICTIM = "stage3_unit1_depthwise"


@pytest.fixture(scope="module")
def small_network():
    model = ShuffleNetV2(
        input_shape=(32, 32, 3),
        small_images=True,
        units_per_stage=(2, 1, 1),
        stage_channels=(16, 32, 48),
        head_channels=64,
        classes=7,
        classifier_activation=None,
    )
    inputs = np.random.default_rng(2).uniform(-1, 1, (20, 32, 32, 3)).astype(np.float32)
    graph = deployment_graph(model)
    return graph, calibrate(graph, inputs), inputs, np.asarray(model(inputs))


def measure_with(small_network, ranges, graph=None):
    own_graph, _, inputs, logits = small_network
    graph = graph or own_graph
    model = fake_quant_model(graph, ranges)
    labels = logits.argmax(-1)
    return measure(QuantizedNetwork("a test", graph, model, inputs, labels, logits))


@pytest.fixture(scope="module")
def report(small_network):
    return measure_with(small_network, small_network[1])


@pytest.fixture(scope="module")
def damaged(small_network):
    low, high = small_network[1][VICTIM]
    return measure_with(small_network, {**small_network[1], VICTIM: (50 * low, 50 * high)})


def of(report, kind, name):
    return next(part for part in report.parts if (part.kind, part.name) == (kind, name))


def test_ratio_of_a_signal_made_by_hand():
    ratio = SignalToNoise()
    # Signal 9 + 16 = 25 and noise 0.25, a factor of 100, added in two pieces.
    ratio.add(np.float32([3, 0]), np.float32([3, 0]))
    ratio.add(np.float32([4]), np.float32([4.5]))
    assert ratio.decibels == pytest.approx(20, abs=1e-12)


def test_no_noise_or_no_signal_has_no_ratio():
    ratio = SignalToNoise()
    assert ratio.decibels is None
    ratio.add(np.float32([3]), np.float32([3]))
    assert ratio.decibels is None
    silent = SignalToNoise()
    silent.add(np.float32([0]), np.float32([1]))
    assert silent.decibels is None


def test_rounding_a_full_range_has_the_textbook_ratio(report):
    """Uniform values rounded to 256 steps: 20 log10(256) = 48.2 dB; the image is uniform."""
    assert of(report, "activations", "image").own_db == pytest.approx(48.2, abs=0.3)


def test_every_part_is_listed_worst_first(small_network, report):
    ops = small_network[0].ops.values()
    weights = {op.name for op in ops if op.weights is not None}
    assert {part.name for part in report.parts if part.kind == "weights"} == weights
    shares = [part.noise_share for part in report.parts]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    ratios = [part.alone_db for part in report.parts]
    assert ratios == sorted(ratios)


def test_everything_is_worse_than_its_parts(report):
    everything = report.output_db["all"]
    assert everything < report.output_db["weights"]
    assert everything < report.output_db["activations"]
    # Independent noises add up, so the parts explain the whole within some dB.
    noise = sum(10 ** (-part.alone_db / 10) for part in report.parts)
    assert everything == pytest.approx(-10 * np.log10(noise), abs=2)


def test_damaged_range_is_worst_and_named(report, damaged):
    worst = damaged.parts[0]
    assert (worst.kind, worst.name) == ("activations", VICTIM)
    # 50 times fewer steps mean 34 dB.
    before = of(report, "activations", VICTIM)
    assert before.own_db - worst.own_db == pytest.approx(20 * np.log10(50), abs=3)
    assert worst.noise_share > 0.9
    text = advice(damaged)
    assert "The activations dominate; the worst are the activations of " + VICTIM in text
    assert "--ranges" in text
    assert table(damaged, limit=1).splitlines()[1].split()[:2] == ["activations", VICTIM]


def test_damage_is_not_blamed_on_others(report, damaged):
    """The ratio of another part alone does not depend on the damaged one."""
    for part in report.parts:
        if part.name != VICTIM:
            assert of(damaged, part.kind, part.name).alone_db == part.alone_db


def test_badly_scaled_weights_dominate(small_network):
    """One outlier makes the rounding of a channel's other weights coarse."""
    graph, ranges, *_ = small_network
    op = graph.ops["predictions"]
    kernel = op.weights.kernel.copy()
    # The pooled feature that it multiplies is zero, so that only the rounding matters.
    kernel[0, 0] = 300.0
    head = graph.ops["head"]
    quiet = head.weights.bias.copy(), head.weights.kernel.copy()
    quiet[0][0], quiet[1][..., 0] = -1.0, 0.0
    ops = {
        **graph.ops,
        "predictions": dataclasses.replace(op, weights=op.weights._replace(kernel=kernel)),
        "head": dataclasses.replace(
            head, weights=head.weights._replace(bias=quiet[0], kernel=quiet[1])
        ),
    }
    report = measure_with(small_network, ranges, dataclasses.replace(graph, ops=ops))
    assert (report.parts[0].kind, report.parts[0].name) == ("weights", "predictions")
    assert "The weights dominate; the worst are the weights of predictions" in advice(report)


def test_advice_if_nothing_stands_out():
    part = Part("activations", "stem", "image", (-1.0, 1.0), 40.0, 50.0, 30.0, 0.05)
    decibels = {"all": 30.0, "weights": 34.0, "activations": 33.0}
    text = advice(LayerErrorReport("a test", 1, decibels, 1.0, [part]))
    assert "Weights and activations matter equally; no part stands out" in text
    assert "the activations of stem, 5.0% of the noise (range shared with image)" in text


def test_picture_is_written_whole(small_network, report, tmp_path):
    path = tmp_path / "error.png"
    save_picture(report, list(small_network[0].ops), path)
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_command(run_cli, trained_workdir, tmp_path):
    output = tmp_path / "report"
    done = run_cli(
        "converters.layer_error",
        f"--model={trained_workdir}",
        "--images=8",
        "--calibration_images=32",
        f"--output={output}",
    )
    assert not done.stderr.strip()
    report = json.loads((output / "layer_error.json").read_text())
    parts = len(report["parts"])
    assert f"8 images, {parts} parts, worst first" in done.stdout
    assert " dominate" in done.stdout or "matter equally" in done.stdout
    assert parts > 100 and report["advice"] in done.stdout
    assert report["output_db"]["all"] > 10
    assert (output / "layer_error.png").stat().st_size > 10_000
    assert len((output / "layer_error.txt").read_text().splitlines()) == 1 + parts


def test_missing_workdir_is_reported_in_one_line(run_cli):
    done = run_cli("converters.layer_error", "--model=nowhere", check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: workdir nowhere is not a folder")
    assert len(done.stderr.splitlines()) == 1
