"""One Android device that adb reaches."""

from collections.abc import Iterator
from pathlib import Path

from common.cli import UserError
from edge.devices import benchmark_model
from edge.devices import shell as shells
from edge.devices.device import DeviceLostError, Job, Result
from edge.devices.remote_folder import RemoteFolder
from edge.devices.shell import AdbShell, CommandError
from edge.running import runner

# By name: benchmark_model's flags, and what it calls the delegate; None for no delegate.
DELEGATES: dict[str, tuple[tuple[str, ...], str | None]] = {
    "xnnpack": (("--use_xnnpack=true",), "XNNPACK"),
    # Said aloud, because float16 is only its default: a record's `precision` depends on it.
    "gpu": (("--use_gpu=true", "--gpu_precision_loss_allowed=true"), "GPU"),
    # Not NNAPI's own CPU implementation, which phones also call an accelerator.
    "nnapi": (("--use_nnapi=true", "--disable_nnapi_cpu=true"), "NNAPI"),
    "none": (("--use_xnnpack=false",), None),
}
_PARENT = "/data/local/tmp"
# Prints what `runner.state` reads, one line with path and text per file. No user input is in it.
_READ_SENSORS = " ".join(
    [
        f'for f in {pattern}; do [ -r "$f" ] && echo "$f $(cat "$f" 2>/dev/null)"; done;'
        for pattern in runner.SENSORS
    ]
    + ["true"]
)
_PROPERTIES = {
    "model": "ro.product.model",
    "chip": "ro.soc.model",
    "board": "ro.board.platform",
    "release": "ro.build.version.release",
    "abi": "ro.product.cpu.abi",
}


class AdbDevice:
    """Measures files on one device, one after the other.

    Args:
      job: its options give adb, the delegates and the cores.
      serial: the device's serial number.
    """

    def __init__(self, job: Job, serial: str):
        self.serial = serial
        self._options = job.options
        self._shell = AdbShell(job.options["adb"], serial, job.options["timeout"])
        self._folder = RemoteFolder(self._shell, _PARENT)
        self._program = ""
        self._machine: dict = {}

    def prepare(self, program: tuple[Path | None, str, str]) -> None:
        """Makes our folder on the device and copies benchmark_model into it.

        Args:
          program: benchmark_model's path on this machine or None, its path on the device, and its
            version.

        Raises:
          UserError: the device is busy or full, or benchmark_model is missing.
        """
        source, self._program, version = program
        self._folder.create()
        if source is not None:
            self._program = self._folder.put(source, "benchmark_model")
            shells.run(self._shell, "chmod", "755", self._program)
        elif self._shell.execute("test", "-x", self._program).returncode:
            raise UserError(
                f"{self.serial} has no program {self._program}; name a file on this machine with "
                "--benchmark_model=PATH (docs/devices.md says where to get it)"
            )
        self._machine = self._describe(version)

    def run(self, job: Job) -> Iterator[Result]:
        """Measures each file with each delegate; a failure does not stop the others.

        Raises:
          DeviceLostError: the device does not answer any more.
        """
        for name in job.files:
            try:
                graph = self._folder.put(job.artifact.path(name), "model.tflite")
            except CommandError as error:
                yield Result(name, error=str(error))
                continue
            for delegate in self._options["delegates"]:
                yield self._measure(job, name, graph, delegate)

    def clean_up(self) -> None:
        """Removes our folder from the device."""
        self._folder.remove()

    def _measure(self, job: Job, name: str, graph: str, delegate: str) -> Result:
        try:
            values = self._measure_once(job, graph, delegate)
        except DeviceLostError:
            raise
        except UserError as error:
            return Result(name, error=f"{self.serial}, {delegate}: {error}")
        return Result(name, values={"place": self.serial, "delegate": delegate, **values})

    def _measure_once(self, job: Job, graph: str, delegate: str) -> dict:
        flags, called = DELEGATES[delegate]
        command = [
            *self._pinned(),
            *(self._program, f"--graph={graph}", f"--num_threads={job.threads}"),
            *(f"--warmup_runs={max(job.warmup, 1)}", f"--num_runs={job.runs}", *flags),
            *([f"--run_delay={job.options['cooldown']:g}"] if job.options["cooldown"] else []),
        ]
        before = self._read_state()
        text = self._benchmark(command)
        after = self._read_state()
        machine = {
            **self._machine,
            "governor": (before["governors"] or [None])[0],
            "load_average": before["load_average"],
        }
        return {
            **benchmark_model.parse(text),
            **({} if called is None else benchmark_model.delegated(text, called)),
            **({"precision": "float16"} if delegate == "gpu" else {}),
            "drift": None,
            "accuracy": None,
            "accuracy_images": 0,
            "machine": machine,
            "state_before": before,
            "state_after": after,
            # In a separate run, because profiling itself takes time.
            "profile": self._profile(command),
        }

    def _benchmark(self, command: list[str]) -> str:
        done = self._folder.execute(*command)
        # Versions differ in what they print to stdout and what to stderr.
        text = f"{done.stdout}\n{done.stderr}".replace("\r", "")
        if done.returncode:
            raise CommandError(benchmark_model.failure(text))
        return text

    def _profile(self, command: list[str]) -> dict | None:
        """Returns the profile by operator; None if benchmark_model was built without a profiler."""
        try:
            return benchmark_model.parse_profile(
                self._benchmark([*command, "--enable_op_profiling=true"])
            )
        except DeviceLostError:
            raise
        except UserError:
            return None

    def _pinned(self) -> list[str]:
        cores = self._options["cores"]
        # Android's taskset takes a mask in hexadecimal digits.
        return ["taskset", f"{sum(1 << core for core in cores):x}"] if cores else []

    def _read_state(self) -> dict:
        lines = shells.run(self._shell, "sh", "-c", _READ_SENSORS).splitlines()
        parts = (line.strip().partition(" ") for line in lines)
        return runner.state({path: text for path, _, text in parts if path.startswith("/")})

    def _describe(self, version: str) -> dict:
        found = {key: shells.run(self._shell, "getprop", name) for key, name in _PROPERTIES.items()}
        cores = shells.run(self._shell, "nproc")
        return {
            "cpu": found["chip"] or found["board"],
            "cores": int(cores) if cores.isdigit() else None,
            "platform": f"Android {found['release']} on {found['model']} ({found['abi']})",
            "python": None,
            "litert": version,
        }
