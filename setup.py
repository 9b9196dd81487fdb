"""Packaging of keras_shufflenet; the versions that CI runs are pinned in requirements.lock."""

import re
from pathlib import Path

from setuptools import find_packages, setup

EXTRAS = {
    # TFLite Micro's own interpreter, for `edge.benchmark --device=micro-sim`.
    "micro": ["tflite-micro>=0.dev20250101"],
    # Arm's compiler for Ethos-U, which estimates cycles without a device.
    "ethosu": ["ethos-u-vela>=4.0"],
    # PyTorch checkpoints (.pth), and weights="imagenet".
    "torch": ["torch>=2.6"],
    # A QR code of the page's address, for phones.
    "browser": ["segno>=1.6"],
    # The HTML pages of edge.report and trainers.report.
    "report": ["jinja2>=3.1", "plotly>=6.0"],
    # ONNX files, `shufflenet convert --quantization=onnx,onnx-int8`, and what checks them.
    "onnx": ["onnx>=1.16", "onnxruntime>=1.20"],
    # The runtimes that `make bench` compares with, and the packages that write their files.
    "bench": [
        "ncnn>=1.0.20240820",
        "nncf>=3.0",
        "onnx>=1.16",
        "onnxruntime>=1.20",
        "openvino>=2025.0",
    ],
    # There is no extra for MediaPipe, which `make test-mediapipe` compares with: since 0.10.30 it
    # needs absl 2, tfmot needs absl 1, and the versions before need an older protobuf than
    # TensorFlow. It gets an environment of its own.
    #
    # What `make bench-training` compares with. Not in a lock file: PyPI's builds bring gigabytes of
    # CUDA packages, and the builds for CPUs are on PyTorch's own index (TORCH in the Makefile).
    "bench-torch": ["torch>=2.6", "torchvision>=0.21"],
    "dev": [
        "hypothesis>=6.100",
        "import-linter>=2.0",
        # The site of `make docs`.
        "mkdocs-material>=9.5,<10",
        "mkdocstrings[python]>=0.27",
        # Opens the report in the system's Chromium; playwright's own browsers are not needed.
        "playwright>=1.48",
        "pytest>=8.0",
        "pytest-timeout>=2.3",
        "pytest-xdist>=3.6",
        "ruff>=0.8",
    ],
}


def _version() -> str:
    text = Path(__file__).with_name("keras_shufflenet").joinpath("__init__.py").read_text("utf-8")
    return re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)[1]


setup(
    name="keras_shufflenet",
    version=_version(),
    description="ShuffleNet V1 and V2 in Keras, from images to measured int8 models",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(
        include=[
            folder + inner
            for folder in (
                "common",
                "keras_shufflenet",
                "trainers",
                "converters",
                "edge",
                "experiments",
            )
            for inner in ("", ".*")
        ]
    ),
    package_data={
        "keras_shufflenet": ["py.typed"],
        # The artifacts that travel with the package (common/included.py).
        "common": ["artifacts/*/*"],
        "common.detection": ["templates/*.h"],
        "common.pages": ["templates/*.html"],
        "trainers.reporting": ["templates/*.html"],
        "converters.micro_target": ["templates/*", "templates/*/*"],
        "edge.browser": ["templates/*"],
        "edge.reporting": ["templates/*.html"],
        "experiments.harness": ["templates/*.html"],
    },
    install_requires=[
        # tfmot 0.8 allows nothing newer than absl 1.x.
        "absl-py>=1.2,<2",
        # LiteRT and Keras have upper bounds, the tested versions, because their private interfaces
        # are used (edge/profiling/litert.py, keras_shufflenet/keras_internals.py).
        "ai-edge-litert>=1.4,<2.4",
        # tfds needs it for mnist and similar data sets, but does not require it.
        "importlib_resources>=5.0",
        "keras>=3.12,<3.16",
        "matplotlib>=3.8",
        "numpy>=1.26",
        # Sizes and orientations of images that have boxes.
        "pillow>=10",
        "safetensors>=0.5",
        # The digits data set.
        "scikit-learn>=1.4",
        # tf.summary raises without it, and TensorFlow 2.21 does not install it.
        "tensorboard>=2.19",
        # Not tensorflow-cpu: tf-keras installs tensorflow, and one would overwrite the other.
        "tensorflow>=2.21,<2.22",
        "tensorflow-datasets>=4.9.8",
        "tensorflow-model-optimization>=0.8.1,<0.9",
        "tf-keras>=2.21,<2.22",
        "tqdm>=4.66",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "shufflenet = common.commands:main",
            "shufflenet-train = common.commands:script",
            "shufflenet-evaluate = common.commands:script",
            "shufflenet-predict = common.commands:script",
            "shufflenet-training-report = common.commands:script",
            "shufflenet-launch = common.commands:script",
            "shufflenet-data-server = common.commands:script",
            "shufflenet-convert = common.commands:script",
            "shufflenet-quantize = common.commands:script",
            "shufflenet-plan = common.commands:script",
            "shufflenet-agreement = common.commands:script",
            "shufflenet-layer-error = common.commands:script",
            "shufflenet-edgetpu = common.commands:script",
            "shufflenet-benchmark = common.commands:script",
            "shufflenet-profile = common.commands:script",
            "shufflenet-serve = common.commands:script",
            "shufflenet-report = common.commands:script",
            "shufflenet-checkpoints = common.commands:script",
            "shufflenet-complexity = common.commands:script",
            "shufflenet-experiments = common.commands:script",
        ]
    },
)
