import pytest

from experiments.networks import guideline_blocks
from experiments.networks.guideline_blocks import COLUMNS, GUIDELINES
from keras_shufflenet.complexity import complexity


def test_multiply_adds_of_the_papers_networks():
    # 10 blocks of two convolutions 128 to 128 at 56x56, as in V2's Table 1.
    model = GUIDELINES["G1"].build("1:1", "GPU")
    assert complexity(model).macs == 10 * 2 * 56 * 56 * 128 * 128
    # After them a mean, which makes it a classifier.
    assert model.output_shape == (None, 128)


@pytest.mark.parametrize("guideline", GUIDELINES.values(), ids=GUIDELINES)
@pytest.mark.parametrize("column", COLUMNS)
def test_rows_have_equal_multiply_adds(monkeypatch, guideline, column):
    # Of one block, which is a tenth of ten.
    monkeypatch.setattr(guideline_blocks, "BLOCKS", 1)
    models = [guideline.build(variant.label, column) for variant in guideline.variants]
    macs = [complexity(model).macs for model in models]
    # The paper's own widths differ by up to 5.5% (1024 against 968).
    assert max(macs) / min(macs) <= 1.06


def test_multiples_widen_everything(monkeypatch):
    monkeypatch.setattr(guideline_blocks, "BLOCKS", 1)
    model = GUIDELINES["G2"].build("g=4", "CPU", multiple=2)
    (convolution,) = (layer for layer in model.layers if hasattr(layer, "groups"))
    assert (convolution.groups, convolution.kernel.shape) == (4, (1, 1, 64, 256))


@pytest.mark.parametrize(
    ("label", "relus", "additions"),
    [("ReLU, shortcut", 3, 1), ("ReLU", 3, 0), ("shortcut", 0, 1), ("neither", 0, 0)],
)
def test_what_the_bottleneck_has(monkeypatch, label, relus, additions):
    monkeypatch.setattr(guideline_blocks, "BLOCKS", 1)
    kinds = [type(layer).__name__ for layer in GUIDELINES["G4"].build(label, "GPU").layers]
    assert (kinds.count("ReLU"), kinds.count("Add")) == (relus, additions)


def test_columns_that_are_alike_are_measured_once():
    assert [one.columns for one in GUIDELINES.values()] == [COLUMNS] * 3 + [("GPU",)]
