import ast
import sys
from pathlib import Path

import keras_shufflenet

PACKAGE = Path(keras_shufflenet.__file__).parent
ALLOWED = {"keras", "numpy", "absl", "h5py", "keras_shufflenet"}


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_only_keras_and_what_it_brings_is_imported():
    files = sorted(PACKAGE.rglob("*.py"))
    assert files
    for path in files:
        roots = {name.split(".")[0] for name in imported_modules(path)}
        assert roots - set(sys.stdlib_module_names) <= ALLOWED, path.name


def test_public_names():
    assert set(keras_shufflenet.__all__) == {
        "ShuffleNetV1",
        "ShuffleNetV2",
        "ShuffleNetV2Large",
        "ShuffleNetV2Plus",
        "ShuffleNetDetector",
        "detector_strides",
        "ShuffleUnit",
        "ShuffleUnitV2",
        "ShuffleUnitV2ExLarge",
        "ShuffleUnitV2Large",
        "ShuffleUnitV2Plus",
        "ChannelShuffle",
        "ChannelSplit",
        "HardSqueezeExcite",
        "SqueezeExcite",
        "preprocess_input",
        "preprocessing_of",
        "decode_predictions",
        "features",
        "load_model",
    }
    for name in keras_shufflenet.__all__:
        assert getattr(keras_shufflenet, name).__doc__, name
