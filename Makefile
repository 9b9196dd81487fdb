# `make demo` and `make test` need only Python 3.10-3.13 and make: both first make .venv from
# requirements.lock. To use another Python: make demo PYTHON=python3.13

PYTHON ?= python3
VENV ?= .venv
DEMO ?= demo
# What pip installs for `make test-backends` and `make bench-training`. TORCH="torch --index-url=…"
# takes PyTorch from another index, such as builds without CUDA: https://download.pytorch.org/whl/cpu
TORCH ?= torch
PY := $(VENV)/bin/python

.PHONY: help demo demo-detection test test-fast test-slow test-backends test-mediapipe test-arm browser lint format docs readme bench bench-arm bench-training experiments accuracy lock clean venv

help:
	@echo "make demo       train, evaluate, convert and benchmark a ShuffleNet on real digits, into $(DEMO)/"
	@echo "make demo-detection  train, convert and benchmark a detector and draw what it finds, into $(DEMO)-detection/"
	@echo "make test       lint, import rules and the test suite"
	@echo "make test-fast  only the quick tests, to run between two edits (at most three minutes)"
	@echo "make test-slow  the tests that take minutes or need tools that a fresh machine lacks"
	@echo "make test-backends  the networks' tests on TensorFlow, JAX and PyTorch (installs JAX and PyTorch)"
	@echo "make test-mediapipe  compare MediaPipe's classes, from a file alone, with predict's (installs MediaPipe)"
	@echo "make test-arm   compare LiteRT's ARM kernels with those for x86, under qemu, on Debian"
	@echo "make browser    fetch LiteRT.js, which benchmarks and tries files in a browser"
	@echo "make format     format the code"
	@echo "make docs       build the site, into build/docs"
	@echo "make readme     run the commands of the README and the docs and paste their output"
	@echo "make bench      compare the deployment graph with the usual conversion, into docs/benchmarks.md"
	@echo "make bench-arm  count ARM instructions per inference in a virtual machine, into docs/benchmarks.md (Debian)"
	@echo "make bench-training  compare training steps and the input pipeline with PyTorch's (installs PyTorch)"
	@echo "make experiments  measure the papers' tables and figures on this machine, into docs/experiments (half an hour)"
	@echo "make accuracy   train on CIFAR-10 and quantize in every way, into docs/benchmarks.md (hours)"
	@echo "make lock       pin the newest versions that setup.py allows (needs uv)"
	@echo "make clean      remove $(VENV), $(VENV)-backends, $(VENV)-mediapipe, $(DEMO) and $(DEMO)-detection"

venv:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: $(PYTHON) is not installed; name a Python 3.10-3.13: make demo PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) tools/make_venv.py $(VENV)

demo: venv
	@rm -rf $(DEMO) && mkdir -p $(DEMO)
	@echo "== 1/5 train: ShuffleNetV2 0.5x on 1,437 real images of handwritten digits"
	@$(PY) -m trainers.train --recipe=digits --workdir=$(DEMO)/digits
	@echo "== 2/5 evaluate: on the 360 images of the test split"
	@$(PY) -m trainers.evaluate --model=$(DEMO)/digits --output=$(DEMO)/evaluation
	@echo "== 3/5 convert: the deployment graph and the canonical one, float32 and int8, each checked against the Keras model"
	@$(PY) -m converters.convert --model=$(DEMO)/digits --output=$(DEMO)/artifact \
	  --graph=deployment,canonical --quantization=none,int8-ptq
	@echo "== 4/5 benchmark: both graphs side by side, in LiteRT on this machine and in the TFLite Micro interpreter"
	@$(PY) -m edge.benchmark --artifact=$(DEMO)/artifact --device=host,micro-sim --output=$(DEMO)/measurements.jsonl
	@echo "== 5/5 report: one page to open in a browser"
	@$(PY) -m edge.report $(DEMO)/measurements.jsonl --output=$(DEMO)/report.html
	@echo "Everything is in $(DEMO)/"

# BOXES: a folder with boxes, as docs/guides/detect.md says; without it, shapes are drawn. BOXES_FLAGS:
# more flags of the training.
demo-detection: venv
	@rm -rf $(DEMO)-detection && mkdir -p $(DEMO)-detection
	@if [ -z "$(BOXES)" ]; then \
	  echo "== no BOXES=FOLDER is given: tools/draw_shapes.py draws 300 images of shapes instead"; \
	  $(PY) tools/draw_shapes.py $(DEMO)-detection/shapes; fi
	@echo "== 1/5 train: a detector, ShuffleNetV2 0.5x with a PAN neck, from random weights"
	@$(PY) -m trainers.train --recipe=detection --data_dir=$(if $(BOXES),$(BOXES),$(DEMO)-detection/shapes) \
	  --workdir=$(DEMO)-detection/work --input_size=192 --epochs=40 $(BOXES_FLAGS)
	@echo "== 2/5 evaluate: average precision, every box, a page"
	@$(PY) -m trainers.evaluate --model=$(DEMO)-detection/work --output=$(DEMO)-detection/evaluation
	@echo "== 3/5 convert: both graphs in int8, each with its AP next to the Keras model's"
	@$(PY) -m converters.convert --model=$(DEMO)-detection/work --output=$(DEMO)-detection/artifact \
	  --graph=deployment,canonical --quantization=int8-ptq
	@echo "== 4/5 benchmark: AP and milliseconds of each file, on this machine"
	@$(PY) -m edge.benchmark --artifact=$(DEMO)-detection/artifact --output=$(DEMO)-detection/measurements.jsonl
	@echo "== 5/5 predict: boxes of the int8 file, drawn into images"
	@$(PY) -m trainers.predict --model=$(DEMO)-detection/artifact --output=$(DEMO)-detection/found --format=csv \
	  $(if $(BOXES),$(BOXES),$(DEMO)-detection/shapes)/images > $(DEMO)-detection/found.csv
	@echo "Everything is in $(DEMO)-detection/"

lint: venv
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/lint-imports

test: lint
	@echo "== tests (a quarter of an hour on 2 cores; the slow ones: make test-slow)"
	@$(PY) -m pytest -n 2 --dist worksteal --durations=15

# Skips the tests that run commands, train or convert: the marker `medium` (tests/conftest.py).
test-fast: venv
	@$(PY) -m pytest -n 2 --dist worksteal -q -m "not slow and not medium"

test-slow: venv
	@$(PY) -m pytest -m slow --timeout=3600

test-backends:
	@$(MAKE) --no-print-directory venv VENV=$(VENV)-backends
	@$(VENV)-backends/bin/python -m pip install --quiet $(TORCH)
	@$(VENV)-backends/bin/python -m pip install --quiet jax
	@for backend in tensorflow jax torch; do \
	  echo "== $$backend"; \
	  KERAS_BACKEND=$$backend $(VENV)-backends/bin/python -m pytest tests/keras_shufflenet || exit 1; done

# MediaPipe wants absl 2, tensorflow-model-optimization absl 1: it gets an environment of its own.
test-mediapipe: venv
	@$(PY) -m venv $(VENV)-mediapipe
	@$(VENV)-mediapipe/bin/python -m pip install --quiet mediapipe
	@MEDIAPIPE_PYTHON=$(CURDIR)/$(VENV)-mediapipe/bin/python \
	  $(PY) -m pytest -m slow -k mediapipe -rs -s --timeout=3600 tests/common/tflite/metadata_test.py

test-arm: venv
	@tools/arm_python.sh build/arm
	@$(PY) -m pytest -m slow -k arm_kernels -rs -s --timeout=3600 tests/edge/devices/ssh_test.py

browser: venv
	@$(PY) -m edge.browser.runtime

format: venv
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

# The variable turns off an advertisement that MkDocs's theme prints.
docs: venv
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet
	@echo "build/docs/index.html"

readme: venv
	@$(PY) tools/update_readme.py

# Takes half an hour on 2 cores the first time; converted files are kept in build/benchmarks.
# DETECTORS_FLAGS=--detectors=FOLDER compares with published detectors, too: docs/detection.md.
bench: venv
	@$(PY) -m pip install --quiet -r requirements-bench.lock
	@$(PY) -m benchmarks.latency
	@$(PY) -m benchmarks.runtimes
	@$(PY) -m benchmarks.detectors $(DETECTORS_FLAGS)
	@$(PY) -m benchmarks.micro_and_npu
	@$(PY) -m benchmarks.micro_memory
	@$(PY) -m benchmarks.ethosu
	@$(PY) -m benchmarks.any_network

# An hour the first time: six conversions, and two virtual machines that boot.
bench-arm: venv
	@tools/arm_guest.sh build/arm-guest
	@$(PY) -m benchmarks.arm_instructions

bench-training: venv
	@$(PY) -m pip install --quiet $(TORCH) torchvision
	@$(PY) -m benchmarks.pipeline
	@$(PY) -m benchmarks.training_speed

# Resumes after a stop. EXPERIMENTS_FLAGS: see python -m experiments.all --help
experiments: venv
	@$(PY) -m experiments.all --output=build/experiments/results --document=docs/experiments $(EXPERIMENTS_FLAGS)

# ACCURACY_FLAGS: see python -m benchmarks.accuracy --help
accuracy: venv
	@$(PY) -m benchmarks.accuracy $(ACCURACY_FLAGS)

lock:
	uv pip compile --universal --python-version 3.10 --no-emit-index-url --upgrade \
	  --extra micro --extra ethosu --extra browser --extra report --extra onnx --extra dev --custom-compile-command "make lock" setup.py -o requirements.lock
	uv pip compile --universal --python-version 3.10 --no-emit-index-url --upgrade -c requirements.lock \
	  --extra bench --custom-compile-command "make lock" setup.py -o requirements-bench.lock

clean:
	rm -rf $(VENV) $(VENV)-backends $(VENV)-mediapipe $(DEMO) $(DEMO)-detection
