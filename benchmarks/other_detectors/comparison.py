"""Checks what detectors compute in each runtime, and times all of them side by side."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.other_detectors import theirs
from benchmarks.other_detectors.networks import OURS, build
from benchmarks.other_detectors.prepared import Prepared
from benchmarks.other_runtimes.comparison import NAMES, difference
from benchmarks.other_runtimes.files import OURS as OUR_VARIANT
from benchmarks.other_runtimes.files import Variant, variants, write_model
from common.cli import UserError
from common.console.progress import Progress
from edge.running.measurement import spread, statistics
from edge.running.side_by_side import Turns, call, measure
from keras_shufflenet.complexity import complexity

# Largest difference of our float32 outputs from those of Keras, as a share of their standard
# deviation: the largest of a million, in random networks, where rounding grows from layer to layer.
OUR_FLOAT_BOUND = 1e-3
# Smallest cosine between our int8 outputs and those of Keras. Nothing is averaged in a detector, so
# it is 0.7 for random weights, in the usual conversion too; the outputs of two images have 0.3.
OUR_INT8_BOUND = 0.5
# Between others' float32 outputs in two runtimes: ncnn's files have weights of 16 bits.
THEIR_FLOAT_BOUND = 0.999
# Between others' int8 and float32 outputs: of some images, their quantizers lose that much.
THEIR_INT8_BOUND = 0.75
OUR_FLOAT_VARIANT = replace(OUR_VARIANT, precision="float32")
_WORKER = "benchmarks.other_detectors.worker"


@dataclass(frozen=True)
class DetectorsConfig:
    """What to measure, and how often: the flags of `benchmarks.detectors`."""

    folder: Path | None
    runtimes: tuple[str, ...]
    cache: Path
    turns: Turns


def compare_all(config: DetectorsConfig) -> dict:
    """Returns `rows`, a summary of each file, and `missing`, what others' files it lacked.

    Raises:
      UserError: a file is damaged, or a runtime does not compute what it should.
    """
    found = theirs.Found({}, ())
    if config.folder:
        found = theirs.find(config.folder, config.runtimes)
    for line in found.missing:
        print(f"warning: not run: {line}", file=sys.stderr)
    prepared = _prepare_all(found, config)
    # Ours first in the table.
    prepared.sort(key=lambda pair: pair[0].name not in OURS)
    detectors, checks = zip(*prepared, strict=True)
    request = {"models": [model for each in detectors for model in _models(each)]}
    times = measure(_WORKER, {"detectors": request}, config.turns)["detectors"]
    return {"rows": summarize(detectors, checks, times), "missing": list(found.missing)}


def _prepare_all(
    found: theirs.Found, config: DetectorsConfig
) -> list[tuple[Prepared, list[dict[str, float]]]]:
    """Returns all detectors with what `check` returns: others' first, for they may be damaged."""
    published = [name for name, files in found.files.items() if files]
    prepared = []
    with Progress("converting", len(OURS) + len(published), unit="detector") as progress:
        for name in (*published, *OURS):
            if name in OURS:
                detector = _prepare(name, config.cache)
            else:
                detector = theirs.prepare(name, found.files[name], config.runtimes, config.cache)
            prepared.append((detector, check(detector, config.turns.core)))
            progress.update(len(prepared))
    return prepared


def _prepare(name: str, cache: Path) -> Prepared:
    """Returns a detector of ours in all its files, which are written into a folder of `cache`."""
    folder = cache / f"detectors_{name}"
    folder.mkdir(parents=True, exist_ok=True)
    model = build(OURS[name])
    written = write_model(model, variants((), shuffle_free=False), folder)
    return Prepared(
        name=name,
        title=name,
        pixels=OURS[name].pixels,
        multiply_adds=complexity(model).macs,
        counterpart=name,
        files=written.files,
        images=written.images,
        expected=written.logits.reshape(len(written.logits), -1),
    )


def _models(detector: Prepared) -> list[tuple[str, str, str]]:
    images = str(detector.images)
    return [(variant.runtime, str(path), images) for variant, path in detector.files.items()]


def check(detector: Prepared, core: int) -> list[dict[str, float]]:
    """Returns for every file how its outputs differ from those of Keras, or of the first file.

    Raises:
      UserError: a file cannot be run, or its outputs differ by more than its bound allows.
    """
    expected, differences = detector.expected, []
    for variant, model in zip(detector.files, _models(detector), strict=True):
        outputs = detector.images.with_name("outputs.npy")
        request = {"models": [model], "outputs": str(outputs), "core": core}
        call(_WORKER, model[1], request)
        computed = np.load(outputs)
        if not np.isfinite(computed).all():
            raise UserError(f"{model[1]} computes numbers that are not finite; fetch it again")
        if expected is None:
            expected = computed
        found = difference(computed, expected)
        if not _close_enough(detector, variant, found):
            raise UserError(
                f"{NAMES[variant.runtime]}'s {variant.precision} {variant.graph} file of "
                f"{detector.title} does not compute what it should: cosine {found['cosine']:.3f}, "
                f"error {found['relative_error']:.1e} of the outputs' standard deviation; measure "
                "without it (--runtimes)"
            )
        differences.append(found)
    return differences


def _close_enough(detector: Prepared, variant: Variant, found: dict[str, float]) -> bool:
    # Written so that NaN does not count as close.
    is_int8 = variant.precision == "int8"
    if detector.expected is None:
        return found["cosine"] >= (THEIR_INT8_BOUND if is_int8 else THEIR_FLOAT_BOUND)
    if is_int8:
        return found["cosine"] >= OUR_INT8_BOUND
    return found["relative_error"] <= OUR_FLOAT_BOUND


def summarize(
    detectors: Sequence[Prepared], checks: Sequence[list[dict[str, float]]], times: np.ndarray
) -> list[dict]:
    """Returns statistics of all files.

    Args:
      detectors: the detectors, those of ours that are counterparts among them.
      checks: of every detector, what `check` returns.
      times: milliseconds, [files of all detectors in their order, rounds].

    Returns:
      For every file its detector and variant, its differences, its statistics, and the ratios of
      its time to those of our counterpart's deployment graph in the same round: in int8
      (`to_our_int8`) and, if the file computes in float32, in float32 (`to_our_float32`).
    """
    files = [(detector, variant) for detector in detectors for variant in detector.files]
    differences = [found for each in checks for found in each]
    by_name = {
        (detector.name, variant): row for (detector, variant), row in zip(files, times, strict=True)
    }
    return [
        {
            "detector": detector.name,
            "title": detector.title,
            "pixels": detector.pixels,
            "multiply_adds": detector.multiply_adds,
            **asdict(variant),
            **found,
            "ms": statistics(list(row)),
            "counterpart": detector.counterpart,
            "to_our_int8": spread(row / by_name[detector.counterpart, OUR_VARIANT]),
            "to_our_float32": spread(row / by_name[detector.counterpart, OUR_FLOAT_VARIANT])
            if variant.precision == "float32"
            else None,
        }
        for (detector, variant), found, row in zip(files, differences, times, strict=True)
    ]
