"""Android phones: TensorFlow Lite's `benchmark_model`, run through adb."""

import queue
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

from common.cli import UserError
from common.files import sha256
from edge.devices.adb_device import DELEGATES, AdbDevice
from edge.devices.device import Job, Result
from edge.devices.shell import call
from edge.running.worker import last_line

_SECONDS_TO_LIST = 30


class Android:
    """Measures with `benchmark_model` on one device, or on several at the same time.

    The times are those that benchmark_model prints: newer versions print the median, older ones
    only the mean. It uses random input and does not show its outputs, so there is no accuracy.
    """

    def __init__(self):
        self._devices: list[AdbDevice] = []

    def takes(self, entry: dict) -> bool:
        """Returns True: benchmark_model runs every file, or says why not."""
        return True

    def prepare(self, job: Job) -> None:
        """Makes a folder on each device; copies benchmark_model into it if this machine has it.

        Raises:
          UserError: adb, a device or benchmark_model is missing, or a device is busy or full.
        """
        unknown = [name for name in job.options["delegates"] if name not in DELEGATES]
        if unknown or not job.options["delegates"]:
            raise UserError(
                f"--delegates must name some of {', '.join(DELEGATES)}; received "
                f"{','.join(unknown)!r}"
            )
        program = _program(job.options["benchmark_model"])
        serials = _serials(job.options["adb"], job.options["serial"])
        self._devices = [AdbDevice(job, serial) for serial in serials]
        try:
            for device in self._devices:
                device.prepare(program)
        except UserError:
            self.clean_up()
            raise

    def run(self, job: Job) -> Iterator[Result]:
        """Measures each file with each delegate, on all devices at the same time.

        Raises:
          DeviceLostError: a device does not answer any more; raised after the others' results.
        """
        results: queue.Queue[Result | Exception | None] = queue.Queue()
        threads = [
            Thread(target=_collect, args=(device, job, results), daemon=True)
            for device in self._devices
        ]
        for thread in threads:
            thread.start()
        errors, running = [], len(threads)
        while running:
            found = results.get()
            if found is None:
                running -= 1
            elif isinstance(found, Exception):
                errors.append(found)
            else:
                yield found
        if errors:
            raise errors[0]

    def clean_up(self) -> None:
        """Removes the folders."""
        for device in self._devices:
            device.clean_up()


def _collect(device: AdbDevice, job: Job, results: queue.Queue) -> None:
    """Puts a device's results into the queue, then its exception, if any, then None."""
    try:
        for result in device.run(job):
            results.put(result)
    except Exception as error:
        results.put(error)
    finally:
        results.put(None)


def _serials(adb: str, wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the serial numbers of the devices to use; all are attached and ready."""
    done = call([adb, "devices"], "adb", _SECONDS_TO_LIST)
    if done.returncode:
        raise UserError(f"adb lists no devices ({last_line(done.stderr)}); try adb devices")
    # "SERIAL<tab>STATE" after a title, and perhaps lines about adb's server.
    states = dict(line.split("\t", 1) for line in done.stdout.splitlines() if "\t" in line)
    listed = ", ".join(f"{serial} ({state.strip()})" for serial, state in states.items()) or "none"
    chosen = tuple(dict.fromkeys(wanted)) or tuple(states)
    if not chosen or (len(chosen) > 1 and not wanted):
        raise UserError(f"--serial must name one device or more; adb lists {listed}")
    for serial in chosen:
        if states.get(serial, "missing").strip() != "device":
            raise UserError(
                f"device {serial!r} is not ready; adb lists {listed}. Check its cable and that it "
                "allows USB debugging, or name another with --serial"
            )
    return chosen


def _program(place: str) -> tuple[Path | None, str, str]:
    """Returns benchmark_model's path on this machine or None, path on the device, and version."""
    prefix = "device:"
    if place.startswith(prefix):
        return None, place[len(prefix) :], "benchmark_model"
    path = Path(place)
    if not path.is_file():
        raise UserError(
            f"--benchmark_model={place} does not exist; name a file, or device:PATH for one on the "
            "device (docs/devices.md says where to get it)"
        )
    return path, "", f"benchmark_model {sha256(path)[:12]}"
