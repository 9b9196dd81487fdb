"""C++ source of a detector's firmware: what its data has besides a classifier's."""

import numpy as np

from common.detection.boxes import SIDES
from common.detection.decoding import Decoding
from common.detection.nms import CANDIDATES, Detections, detect
from converters.micro_target.literals import cpp_float

# Scores that the golden boxes may have at least, until one finds something.
_GOLDEN_SCORES = (0.1, 0.01, 0.001, 0.0)
# Bytes of a `Detection` and of a candidate in detections.h.
_BOX_BYTES, _CANDIDATE_BYTES = 24, 8
_STRIDES = 3  # of `Layout`


def layout(decoding: Decoding) -> str:
    """Returns the constants of `shufflenet_model.h` that say how the output becomes boxes."""
    strides = [*decoding.strides, *[0] * (_STRIDES - len(decoding.strides))]
    return f"""
// The output: at each point, four sides and a logit for each class.
constexpr int kOutputs = {_points(decoding) * (SIDES + decoding.classes)};
constexpr Layout kLayout = {{kHeight, kWidth, {{{", ".join(map(str, strides))}}},
                            {len(decoding.strides)}, kClasses, kOutputScale, kOutputZeroPoint}};

// A lower score is no box; boxes of a class overlap by an IoU of at most kMaxOverlap.
constexpr float kMinScore = {cpp_float(decoding.min_score)};
constexpr float kMaxOverlap = {cpp_float(decoding.max_overlap)};
constexpr int kMaxBoxes = {decoding.max_boxes};
// Duplicates are looked for among so many boxes.
constexpr int kCandidates = {candidates(decoding)};
"""


def candidates(decoding: Decoding) -> int:
    """Returns how many boxes duplicates are looked for among: as many as on the host."""
    return min(CANDIDATES, _points(decoding) * decoding.classes)


def object_bytes(decoding: Decoding) -> int:
    """Returns about how much memory the boxes take in the detector object."""
    return decoding.max_boxes * _BOX_BYTES + candidates(decoding) * _CANDIDATE_BYTES


def golden_boxes(decoding: Decoding, raw: np.ndarray) -> str:
    """Returns the boxes of `golden.cpp`.

    Args:
      decoding: how the output becomes boxes.
      raw: the golden image's output, dequantized, [points, 4 + classes].
    """
    score, found = _found(decoding, raw)
    rows = ",\n".join(
        f"    {{{', '.join(map(cpp_float, (*box, share)))}, {label}}}"
        for box, share, label in zip(*found, strict=True)
    )
    return f"""
const float kGoldenScore = {cpp_float(score)};
const int kGoldenCount = {len(found.scores)};
const Detection kGoldenBoxes[] = {{
{rows}}};
"""


def _found(decoding: Decoding, raw: np.ndarray) -> tuple[float, Detections]:
    """Returns the golden boxes, at least one, and the least score at which they are found."""
    limits = {"overlap": decoding.max_overlap, "most": decoding.max_boxes}
    for score in (decoding.min_score, *_GOLDEN_SCORES):
        (found,) = detect(raw[np.newaxis], decoding.points, score=score, **limits)
        if len(found.scores):
            break
    return score, found


def _points(decoding: Decoding) -> int:
    return len(decoding.points.strides)
