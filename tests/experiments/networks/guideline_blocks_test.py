import pytest

from common.cli import UserError
from experiments.networks import guideline_blocks
from experiments.networks.guideline_blocks import COLUMNS, GUIDELINES
from experiments.tables.guidelines import check_equal
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
    models = {v.label: guideline.build(v.label, column) for v in guideline.variants}
    check_equal({label: complexity(model).macs for label, model in models.items()})


def test_unequal_multiply_adds_are_refused():
    with pytest.raises(UserError, match="1,000 to 1,100 multiply-adds, more than 6% apart"):
        check_equal({"a": 1000, "b": 1100})


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
