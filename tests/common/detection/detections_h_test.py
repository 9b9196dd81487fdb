"""The C++ header finds the boxes that numpy finds, without allocating."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import common.detection
from common.detection.boxes import make_points
from common.detection.nms import detect

HEADERS = Path(common.detection.__file__).with_name("templates")
HEIGHT, WIDTH, STRIDES, CLASSES = 64, 96, (8, 16, 32), 3
SCALE, ZERO_POINT = 0.07, 21
SHAPE = (len(make_points(HEIGHT, WIDTH, STRIDES).strides), 4 + CLASSES)
MAIN = """
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>
#include "detections.h"
void* operator new(std::size_t) { std::abort(); }
static VALUE raw[POINTS * 7];
static shufflenet::Detections<MOST, 200> found;
int main(int, char** arguments) {
  if (std::fread(raw, sizeof(VALUE), POINTS * 7, stdin) != POINTS * 7) return 1;
  const shufflenet::Layout layout = {64, 96, {8, 16, 32}, 3, 3, SCALE, ZERO};
  found.Find(raw, layout, std::strtof(arguments[1], nullptr), std::strtof(arguments[2], nullptr));
  for (const shufflenet::Detection& one : found)
    std::printf("%.9g %.9g %.9g %.9g %.9g %d\\n", one.left, one.top, one.right, one.bottom,
                one.score, one.label);
}
"""
pytestmark = pytest.mark.medium


@pytest.fixture(scope="module")
def find(tmp_path_factory):
    """`find(raw, most, score, overlap)`: rows of left, top, right, bottom, score, label."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no g++")
    folder = tmp_path_factory.mktemp("detections")
    (folder / "main.cc").write_text(MAIN)

    def run(raw, most, score, overlap):
        is_float = raw.dtype == np.float32
        program = folder / f"{raw.dtype}_{most}"
        values = {
            "VALUE": "float" if is_float else "std::int8_t",
            "POINTS": SHAPE[0],
            "MOST": most,
            "SCALE": "1.0f" if is_float else f"{SCALE}f",
            "ZERO": 0 if is_float else ZERO_POINT,
        }
        if not program.exists():
            flags = ["-std=c++11", "-O2", "-Wall", "-Wextra", "-Werror", "-fno-exceptions"]
            flags += [f"-D{name}={value}" for name, value in values.items()]
            command = [compiler, *flags, f"-I{HEADERS}", "main.cc", "-o", program]
            subprocess.run(command, cwd=folder, check=True)
        printed = subprocess.run(
            [program, str(score), str(overlap)],
            input=raw.tobytes(),
            capture_output=True,
            check=True,
        ).stdout
        return np.array([line.split() for line in printed.splitlines()], float).reshape(-1, 6)

    return run


def random_output(dtype, seed):
    rng = np.random.default_rng(seed)
    raw = rng.normal(0, 1, SHAPE).astype(np.float32)
    raw[:, 4:] -= 1
    raw[0, :4] = 30  # beyond the limit of distances
    if dtype == "float32":
        return raw, raw
    # So coarse that many scores are equal.
    integers = np.clip(np.rint(raw / SCALE) + ZERO_POINT, -128, 127).astype(np.int8)
    return integers, (integers.astype(np.float32) - np.float32(ZERO_POINT)) * np.float32(SCALE)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize(
    ("most", "score", "overlap"),
    [(100, 0.3, 0.6), (100, 0.5, 0.3), (5, 0.3, 0.6), (100, 0.999, 0.6)],
)
def test_the_same_boxes_as_numpy(find, dtype, most, score, overlap):
    raw, real = random_output(dtype, 0)
    limits = {"score": score, "overlap": overlap, "most": most, "candidates": 200}
    (expected,) = detect(real[None], make_points(HEIGHT, WIDTH, STRIDES), **limits)
    found = find(raw, most, score, overlap)
    assert found[:, 5].astype(int).tolist() == expected.classes.tolist()
    np.testing.assert_allclose(found[:, :4], expected.boxes, atol=1e-3)
    np.testing.assert_allclose(found[:, 4], expected.scores, atol=1e-6)
    if score < 0.9:
        assert len(found) >= 5
