"""The command `shufflenet`: runs each of the project's commands by name.

    shufflenet train --recipe=digits --workdir=work

`shufflenet train …` is the same as `python -m trainers.train …`, and so for every command. It also
works in a folder that contains another `trainers/`, because the current folder is not searched for
modules.
"""

import difflib
import importlib
import importlib.metadata
import os
import runpy
import sys
from pathlib import Path

from common.console import screen
from common.console.quiet import quiet_stderr

EXIT_ERROR = 1
_PACKAGE = "keras_shufflenet"
_SCRIPT = "shufflenet"

# By name: the module, and what it does. tests/common/commands_test.py compares BUILD and setup.py.
COMMANDS = {
    "train": ("trainers.train", "train a network on images"),
    "evaluate": ("trainers.evaluate", "accuracy, or average precision, of a model"),
    "predict": ("trainers.predict", "classify images, or find objects in them"),
    "training-report": ("trainers.report", "compare trainings on one HTML page"),
    "launch": ("trainers.launch", "train with several workers on this machine"),
    "data-server": ("trainers.data_server", "make training batches on other machines"),
    "convert": ("converters.convert", "convert a trained model to .tflite files (an artifact)"),
    "quantize": ("converters.quantize", "quantization-aware training of a trained model"),
    "plan": ("converters.plan", "list the networks that fit a device, before training"),
    "agreement": ("converters.agreement", "compare int8 results between runtimes"),
    "layer-error": ("converters.layer_error", "rank layers by the noise that int8 adds"),
    "edgetpu": ("converters.edgetpu", "check and compile artifacts for the Edge TPU"),
    "benchmark": ("edge.benchmark", "measure an artifact's files on devices"),
    "profile": ("edge.profile", "show where the time of an artifact's files goes"),
    "serve": ("edge.serve", "measure and try an artifact in a browser, also on phones"),
    "report": ("edge.report", "measurements and profiles on one HTML page"),
    "checkpoints": ("keras_shufflenet.checkpoints", "inspect and convert PyTorch checkpoints"),
    "complexity": ("keras_shufflenet.complexity", "multiply-adds and parameters of a network"),
    "experiments": ("experiments.all", "the papers' tables and figures on this machine"),
}


def main() -> int:
    """Runs `shufflenet COMMAND …`."""
    screen.protect()
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"{_PACKAGE} {_version()}")
        return 0
    return _run(name, rest)


def script() -> int:
    """Runs the command in the script's name: `shufflenet-train` runs `train`."""
    return _run(Path(sys.argv[0]).stem.removeprefix(f"{_SCRIPT}-"), sys.argv[1:])


def usage() -> str:
    """Returns the list of commands, one line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name.ljust(width)}  {line}" for name, (_, line) in COMMANDS.items()]
    return "\n".join(
        [
            f"usage: {_SCRIPT} COMMAND [--flag=value …]",
            "",
            *lines,
            "",
            f"{_SCRIPT} COMMAND --help lists a command's flags; {_SCRIPT} --version",
        ]
    )


def _version() -> str:
    try:
        return importlib.metadata.version(_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed: run from its sources)"


def _run(name: str, arguments: list[str]) -> int:
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        print(
            f"error: there is no command {name!r}; {hint}{_SCRIPT} --help lists the commands",
            file=sys.stderr,
        )
        return EXIT_ERROR
    module, _ = COMMANDS[name]
    _load_quietly(module.partition(".")[0])
    sys.argv = [module, *arguments]
    # As `__main__`, and with the module's file as sys.argv[0]: absl shows the flags of that file.
    runpy.run_module(module, run_name="__main__", alter_sys=True)
    return 0


def _load_quietly(package: str) -> None:
    """Loads a command's package; some load TensorFlow, which prints about GPUs and CPUs."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What is printed before TensorFlow has read that.
    with quiet_stderr():
        importlib.import_module(package)


if __name__ == "__main__":
    sys.exit(main())
