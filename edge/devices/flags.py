"""The flags of single devices, for all commands that measure on them.

They are defined by a call and not by the import: a module with flags is a command.
"""

from collections.abc import Mapping
from typing import Any

from absl import flags

from common.cli import UserError
from edge.devices import DEFAULT_OPTIONS

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags; a command calls it at its top."""
    flags.DEFINE_list(
        "cores", [], "CPU cores to measure on, such as 4,5,6,7; all of the device's by default."
    )
    flags.DEFINE_float(
        "timeout", DEFAULT_OPTIONS["timeout"], "Seconds that a command on a device may take."
    )
    flags.DEFINE_string("host", None, "ssh, coral: the board, such as pi@raspberrypi.")
    flags.DEFINE_string("ssh_config", None, "ssh, coral: file in place of ssh's own.")
    flags.DEFINE_string(
        "board_python",
        DEFAULT_OPTIONS["board_python"],
        "ssh, coral: the board's Python with LiteRT.",
    )
    flags.DEFINE_string(
        "edgetpu_library", DEFAULT_OPTIONS["edgetpu_library"], "coral: the delegate's library."
    )
    flags.DEFINE_list(
        "serial", [], "android: serial numbers, measured side by side; the only one by default."
    )
    flags.DEFINE_string("adb", DEFAULT_OPTIONS["adb"], "android: the program adb.")
    flags.DEFINE_string(
        "benchmark_model",
        DEFAULT_OPTIONS["benchmark_model"],
        "android: TensorFlow Lite's benchmark_model, a file here or device:PATH.",
    )
    flags.DEFINE_list(
        "delegates", list(DEFAULT_OPTIONS["delegates"]), "android: xnnpack, gpu, nnapi, none."
    )
    flags.DEFINE_string(
        "accelerator", None, "ethosu-model: such as ethos-u55-128; the artifact's by default."
    )


def read() -> Mapping[str, Any]:
    """Returns the options of `edge.devices.Job` that the command line says.

    Raises:
      UserError: a core that is no number, or a timeout of nothing.
    """
    if FLAGS.timeout <= 0:
        raise UserError(f"--timeout must be above 0; received {FLAGS.timeout}")
    texts = FLAGS.cores
    if not all(text.isascii() and text.isdigit() for text in texts):
        raise UserError(f"--cores must be numbers such as 0,1; received {','.join(texts)!r}")
    lists = {"cores": tuple(map(int, texts))}
    lists.update({name: tuple(FLAGS[name].value) for name in ("serial", "delegates")})
    return {name: lists.get(name, FLAGS[name].value) for name in DEFAULT_OPTIONS}
