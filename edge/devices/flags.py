"""The flags of single devices, for all commands that measure on them.

They are defined by a call, not by the import, because only commands define flags on import.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from absl import flags

from common.cli import UserError, check_bounds
from common.tflite import vela_flags
from edge.devices import DEFAULT_OPTIONS

FLAGS = flags.FLAGS
# LiteRT starts as many threads as it is told.
MAX_THREADS = 256
MAX_RUNS = 1_000_000
_MAX_CORE = 4095
_MAX_SECONDS = 1e6
_MAX_COOLDOWN = 600
_LISTS = ("serial", "delegates", "browser_accelerators")


def define() -> None:
    """Defines the flags; a command calls it at its top."""
    flags.DEFINE_list(
        "cores", [], "CPU cores to measure on, such as 4,5,6,7; by default all of the device's."
    )
    flags.DEFINE_float(
        "timeout",
        DEFAULT_OPTIONS["timeout"],
        "Seconds that a command on a device, or an inference, may take without a sign of progress.",
    )
    define_cooldown()
    flags.DEFINE_string("host", None, "ssh, coral: the board, such as pi@raspberrypi.")
    flags.DEFINE_string(
        "ssh_config", None, "ssh, coral: configuration file to use instead of ~/.ssh/config."
    )
    flags.DEFINE_string(
        "board_python",
        DEFAULT_OPTIONS["board_python"],
        "ssh, coral: the Python on the board that has LiteRT.",
    )
    flags.DEFINE_string(
        "edgetpu_library",
        DEFAULT_OPTIONS["edgetpu_library"],
        "coral: library of the Edge TPU delegate.",
    )
    flags.DEFINE_list(
        "serial",
        [],
        "android: serial numbers of the devices, which are measured at the same time; by default "
        "the only one attached.",
    )
    flags.DEFINE_string("adb", DEFAULT_OPTIONS["adb"], "android: name or path of the program adb.")
    flags.DEFINE_string(
        "benchmark_model",
        DEFAULT_OPTIONS["benchmark_model"],
        "android: TensorFlow Lite's benchmark_model: a file on this machine, or device:PATH for "
        "one on the device.",
    )
    flags.DEFINE_list(
        "delegates",
        list(DEFAULT_OPTIONS["delegates"]),
        "android: one or more of xnnpack, gpu, nnapi, none.",
    )
    flags.DEFINE_string(
        "accelerator",
        None,
        "ethosu-model: the NPU, such as ethos-u55-128; by default the artifact's.",
    )
    vela_flags.define("ethosu-model: ", "performance")
    # So that --help of the command shows them.
    flags.adopt_module_key_flags(vela_flags)
    define_browser()
    flags.DEFINE_list(
        "browser_accelerators",
        list(DEFAULT_OPTIONS["browser_accelerators"]),
        "browser: one or more of wasm, webgpu, webnn.",
    )
    flags.DEFINE_string(
        "browser", None, "browser: name or path of Chromium; by default the first that is found."
    )
    flags.DEFINE_integer(
        "wait",
        DEFAULT_OPTIONS["wait"],
        "browser: instead of starting a browser here, show the page's address and wait for so many "
        "phones.",
        lower_bound=0,
        upper_bound=1000,
    )


def define_cooldown() -> None:
    """Defines the flag `cooldown`."""
    flags.DEFINE_float(
        "cooldown",
        DEFAULT_OPTIONS["cooldown"],
        "Seconds of pause between two rounds of timed runs, so that a phone or a board stays cool.",
        lower_bound=0,
        upper_bound=_MAX_COOLDOWN,
    )


def define_browser(port: int = 0) -> None:
    """Defines the flags of the server for browsers; its `port` by default is any free one, 0."""
    flags.DEFINE_string(
        "listen",
        DEFAULT_OPTIONS["listen"],
        "browser: address on which its server listens; 0.0.0.0 for phones in the same network.",
    )
    flags.DEFINE_integer(
        "port", port, "browser: its server's port; 0: any.", lower_bound=0, upper_bound=65535
    )
    flags.DEFINE_string("certificate", None, "browser: PEM file, for https; needs --key.")
    flags.DEFINE_string("key", None, "browser: the certificate's private key, a PEM file.")


def read() -> Mapping[str, Any]:
    """Returns the options of `edge.devices.Job` from the command line.

    Raises:
      UserError: a core is not a number, or the timeout is not above 0.
    """
    # A comparison with a value that is not a number is False.
    if not FLAGS.timeout > 0:
        raise UserError(f"--timeout must be above 0; received {FLAGS.timeout}")
    check_bounds("timeout", FLAGS.timeout, 0, _MAX_SECONDS)
    texts = FLAGS.cores
    if not all(text.isascii() and text.isdigit() for text in texts):
        raise UserError(f"--cores must be numbers such as 0,1; received {','.join(texts)!r}")
    for text in texts:
        check_bounds("cores", int(text[:20]), 0, _MAX_CORE)
    read = {"cores": tuple(map(int, texts)), **asdict(vela_flags.read())}
    read.update({name: tuple(FLAGS[name].value) for name in _LISTS})
    return {name: read[name] if name in read else FLAGS[name].value for name in DEFAULT_OPTIONS}
