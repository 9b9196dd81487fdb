"""Five backbones of equal multiply-adds in one detector: average precision (V1, V2 Table 7)."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from experiments.harness.experiment import Result, Settings, Table
from experiments.networks.detectors import BACKBONES, build
from experiments.training.config import QueueConfig, trainings_folder
from experiments.training.queue import Trained, Training, train_all, trained
from keras_shufflenet.complexity import complexity

_NONE = "-"
# Of networks if none is trained: those of the default training on blood cells.
_SIZE, _CLASSES = 192, 3
# Where the paper finds the first more precise than the second.
_CLAIMS = (
    ("v2", "xception-like"),
    ("v2", "v1-g3"),
    ("v2", "mobilenet-v2"),
    ("v2-star", "v2"),
)
_HEADERS = (
    *("network", "backbone, M", "detector, M", "parameters", "trained", "AP, %", "lowest-highest"),
    *("AP50, %", "seeds", "the paper's mAP on COCO, %"),
)
# V1 Table 7: mAP [.5, .95] on COCO at two resolutions, percent.
_V1_TABLE_7 = {
    "ShuffleNet 2x, g=3": (18.7, 25.0),
    "ShuffleNet 1x, g=3": (14.5, 19.8),
    "MobileNet 1.0, as reported": (16.4, 19.8),
    "MobileNet 1.0, theirs": (14.9, 19.3),
}


@dataclass(frozen=True)
class Row:
    """A network of the table.

    Attributes:
      name: a key of `BACKBONES`.
      size: height and width of its images, pixels.
      backbone_macs, macs, parameters: multiply-adds of the backbone, of the detector, and its
        parameters.
      found: what its trainings reached; None: it is not trained.
    """

    name: str
    size: int
    backbone_macs: int
    macs: int
    parameters: int
    found: Trained | None

    def scores(self, name: str) -> list[float]:
        """Returns a score of every seed, percent, in the order of the seeds."""
        return [100 * (one[name] or 0.0) for one in self.found.evaluations.values()]


def run(settings: Settings, training: QueueConfig | None = None) -> Result:
    """Counts the networks, and trains them on request; finished trainings are always shown.

    Args:
      settings: the folder of the results.
      training: how the networks are trained; None: they are not.

    Raises:
      UserError: as training.
    """
    if training:
        train_all([Training(n, functools.partial(build, n)) for n in BACKBONES], training)
    known = trained(BACKBONES, trainings_folder(settings.output, "detection"))
    # A network that is not trained is counted at the size of those that are.
    sizes = [found.settings["input_size"] for found in known.values()] or [_SIZE]
    rows = [_row(name, known.get(name), sizes[0]) for name in BACKBONES]
    by_name = {row.name: row for row in rows if row.found}
    return Result(
        [_table(rows), _published()],
        [_equality(rows), *_verdicts(by_name)],
        data={"networks": [_as_json(row) for row in rows]},
    )


def _row(name: str, found: Trained | None, size: int) -> Row:
    size = found.settings["input_size"] if found else size
    backbone = complexity(BACKBONES[name].maps(input_shape=(size, size, 3))).macs
    if found:
        return Row(name, size, backbone, found.macs, found.parameters, found)
    counted = complexity(build(name, (size, size, 3), _CLASSES))
    return Row(name, size, backbone, counted.macs, counted.parameters, None)


def _table(rows: Sequence[Row]) -> Table:
    note = (
        "Multiply-adds are those at the size of the images, here "
        f"{' or '.join(str(size) for size in sorted({row.size for row in rows}))} pixels. Every "
        "network has the same neck and head, and starts from random weights. The paper's (V2 "
        "Table 7, 40 million multiply-adds with the classifier) are backbones trained on ImageNet, "
        "in Light-Head R-CNN, on images of 800x1200 pixels: its order can be compared, not its "
        "figures."
    )
    return Table("V2 Table 7", _HEADERS, [_cells(row) for row in rows], note)


def _cells(row: Row) -> list[str]:
    size = [f"{row.backbone_macs / 1e6:.2f}", f"{row.macs / 1e6:.2f}", f"{row.parameters:,}"]
    coco = f"{BACKBONES[row.name].coco}"
    if row.found is None:
        return [row.name, *size, *[_NONE] * 5, coco]
    ap, ap50 = row.scores("ap"), row.scores("ap50")
    spread = _NONE if len(ap) == 1 else f"{min(ap):.1f}-{max(ap):.1f}"
    means = [f"{np.mean(ap):.1f}", spread, f"{np.mean(ap50):.1f}"]
    return [row.name, *size, _length(row.found), *means, str(len(ap)), coco]


def _length(found: Trained) -> str:
    given = found.settings
    length = f"{given['epochs']:g} epochs" if given["steps"] is None else f"{given['steps']} steps"
    return f"{length} of {given['batch_size']}"


def _published() -> Table:
    rows = [[name, *map(str, scores)] for name, scores in _V1_TABLE_7.items()]
    note = "Faster R-CNN, as published; COCO was not trained here."
    return Table("V1 Table 7", ("network", "mAP at 300x, %", "mAP at 600x, %"), rows, note)


def _equality(rows: Sequence[Row]) -> str:
    (ours,) = (row for row in rows if row.name == "v2")
    # Networks that were trained at different sizes differ by their pixels, too.
    shares = [row.backbone_macs / ours.backbone_macs * (ours.size / row.size) ** 2 for row in rows]
    largest = max(abs(share - 1) for share in shares)
    return f"At equal sizes the backbones' multiply-adds differ from V2's by at most {largest:.1%}."


def _verdicts(rows: Mapping[str, Row]) -> Iterator[str]:
    """Yields whether what the paper found on COCO was found here."""
    for better, worse in _CLAIMS:
        if {better, worse} <= rows.keys():
            yield _verdict(rows[better], rows[worse])


def _verdict(better: Row, worse: Row) -> str:
    published = BACKBONES[better.name].coco - BACKBONES[worse.name].coco
    claim = f"{better.name} is more precise than {worse.name}"
    if better.found.settings != worse.found.settings:
        return f"{claim}: not compared, they were trained differently."
    one, two = better.scores("ap"), worse.scores("ap")
    seeds = min(len(one), len(two))
    found = "cannot be told here"
    # One seed says nothing of how far apart those of one network are.
    if seeds > 1 and min(one) > max(two):
        found = "holds here"
    elif seeds > 1 and max(one) < min(two):
        found = "does not hold here"
    return (
        f"{claim} (the paper, on COCO: {published:+.1f} points): **{found}**: AP "
        f"{np.mean(one):.1f}% and {np.mean(two):.1f}%, {np.mean(one) - np.mean(two):+.1f} points, "
        f"{seeds} {'seed' if seeds == 1 else 'seeds'} each."
    )


def _as_json(row: Row) -> dict:
    values = {**asdict(row), "coco": BACKBONES[row.name].coco}
    if row.found:
        found = values["found"]
        found["evaluations"] = {str(seed): one for seed, one in found["evaluations"].items()}
        # The images' folder means nothing on another machine.
        found["settings"].pop("data_dir")
    return values
