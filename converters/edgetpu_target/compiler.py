"""Runs the user's `edgetpu_compiler`, on this machine or in a container, with a time limit."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from common.cli import UserError, check_bounds
from converters.edgetpu_target.log import (
    ModelLog,
    parse_operation_log,
    parse_output,
    with_operators,
)

PROGRAM = "edgetpu_compiler"
GET_IT = (
    f"{PROGRAM} runs on x86-64 Linux: install it (https://coral.ai/docs/edgetpu/compiler/), name "
    "it with --edgetpu_compiler, or name a container image that contains it with --edgetpu_docker"
)
# From this version on, compilers stop after 180 seconds unless they are given another time limit.
_VERSION_WITH_TIMEOUT = 16
# Time limit for asking for the version: a container's first start may fetch its image.
_VERSION_SECONDS = 300
_MAX_SECONDS = 1_000_000
_CONTAINER_FOLDER = "/models"


@dataclass(frozen=True)
class EdgeTpuSettings:
    """How to compile for the Edge TPU: the flags --edgetpu_… and --require_full_mapping.

    Attributes:
      compiler: path of the program; None looks for `edgetpu_compiler` on PATH.
      docker: image of a container that has it on its PATH; None runs it on this machine.
      timeout: seconds that a compilation may take.
      require_full_mapping: fail unless the compiler maps all operators.

    Raises:
      UserError: a value cannot be used.
    """

    compiler: str | None = None
    docker: str | None = None
    timeout: int = 300
    require_full_mapping: bool = False

    def __post_init__(self) -> None:
        if self.compiler is not None and self.docker is not None:
            raise UserError("--edgetpu_compiler and --edgetpu_docker exclude one another; name one")
        # Docker would read it as an option.
        if self.docker is not None and (not self.docker or self.docker.startswith("-")):
            raise UserError(f"--edgetpu_docker must name an image; received {self.docker!r}")
        if self.timeout < 1:
            raise UserError(f"--edgetpu_timeout must be at least 1 second; received {self.timeout}")
        check_bounds("edgetpu_timeout", self.timeout, 1, _MAX_SECONDS)


@dataclass(frozen=True)
class CompiledModel:
    """One compiled model."""

    path: Path
    log: ModelLog


@dataclass(frozen=True)
class Compiler:
    """A compiler that was found and reported its version.

    Attributes:
      program: path of `edgetpu_compiler`, or of `docker`.
      settings: the command's settings.
      version: such as "16.0.384591198".
    """

    program: str
    settings: EdgeTpuSettings
    version: str

    @contextlib.contextmanager
    def compile(self, paths: Sequence[Path]) -> Iterator[list[CompiledModel]]:
        """Compiles models into a temporary folder; several models share the chip's memory.

        Args:
          paths: int8 .tflite files; the first ones get on-chip memory first.

        Yields:
          The compiled models in the same order, which exist until the block ends.

        Raises:
          UserError: the compiler rejects a model, or takes too long.
        """
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            # New names, because two artifacts use the same ones; and none looks like an option.
            names = [f"model{index}.tflite" for index in range(len(paths))]
            for path, copy in zip(paths, names, strict=True):
                shutil.copyfile(path, folder / copy)
            text = _run(
                self.program,
                self.settings.docker,
                [*self._options(), *names],
                folder,
                self.settings.timeout,
            )
            yield self._results(text, folder, names)

    def _options(self) -> list[str]:
        options = ["--show_operations", "--out_dir", "."]
        if int(self.version.partition(".")[0]) >= _VERSION_WITH_TIMEOUT:
            options += ["--timeout_sec", str(self.settings.timeout)]
        return options

    def _results(self, text: str, folder: Path, names: list[str]) -> list[CompiledModel]:
        output = parse_output(text)
        if output.failure is not None:
            raise UserError(f"{PROGRAM} {self.version} failed: {output.failure}")
        compiled = [folder / name.replace(".tflite", "_edgetpu.tflite") for name in names]
        there = all(path.is_file() for path in compiled)
        reported = all(model.on_cpu is not None for model in output.models)
        if len(output.models) != len(names) or not (there and reported):
            raise UserError(
                f"{PROGRAM} {self.version} was given {len(names)} models, and its output for "
                f"{len(output.models)} models is not understood; use version 16.0"
            )
        return [
            CompiledModel(path, _complete(model, path.with_suffix(".log")))
            for path, model in zip(compiled, output.models, strict=True)
        ]


def find_compiler(settings: EdgeTpuSettings) -> Compiler | None:
    """Looks for the compiler and asks for its version.

    Returns:
      The compiler; None if none was named and none is on PATH.

    Raises:
      UserError: the named program does not exist, or is not an Edge TPU compiler.

    Examples:
      >>> find_compiler(EdgeTpuSettings()).version
      '16.0.384591198'
    """
    named = "docker" if settings.docker else settings.compiler
    program = shutil.which(named or PROGRAM)
    if program is None:
        if named is None:
            return None
        raise UserError(f"{named} does not exist or cannot be executed; {GET_IT}")
    program = str(Path(program).absolute())  # It runs in another folder.
    with tempfile.TemporaryDirectory() as folder:
        text = _run(program, settings.docker, ["--version"], Path(folder), _VERSION_SECONDS)
    version = parse_output(text).version
    if version is None or not version.partition(".")[0].isdecimal():
        said = next(iter(text.strip().splitlines()), "nothing")
        raise UserError(
            f"{settings.docker or program} is not an Edge TPU compiler: asked for its version, it "
            f"printed {said[:200]!r}; {GET_IT}"
        )
    return Compiler(program, settings, version)


def _complete(model: ModelLog, path: Path) -> ModelLog:
    """Adds the rows of the .log file to the log from stdout."""
    if not path.is_file():
        return model
    rows = parse_operation_log(path.read_text(encoding="utf-8", errors="replace"))
    return with_operators(model, rows) if rows else model


def _run(program: str, image: str | None, arguments: list[str], folder: Path, timeout: int) -> str:
    """Runs the program in `folder` and returns what it printed."""
    container = None if image is None else f"{PROGRAM}-{uuid.uuid4().hex}"
    command = [program, *arguments]
    if container is not None:
        command = [program, *_container_options(container, folder), image, *arguments]
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            # In a separate process group: the compiler works in a child, which must end with it.
            start_new_session=True,
        )
    except OSError as error:
        raise UserError(f"{program} does not start ({error.strerror}); {GET_IT}") from error
    try:
        return process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"{PROGRAM} was stopped after {timeout} seconds; allow more with --edgetpu_timeout"
        ) from error
    finally:
        _end(process, program, container)


def _container_options(container: str, folder: Path) -> list[str]:
    return [
        *("run", "--rm", "--name", container, "--network", "none"),
        *("--user", f"{os.getuid()}:{os.getgid()}"),
        *("--mount", f"type=bind,source={folder},target={_CONTAINER_FOLDER}"),
        *("--workdir", _CONTAINER_FOLDER, "--entrypoint", PROGRAM),
    ]


def _end(process: subprocess.Popen, program: str, container: str | None) -> None:
    """Stops what a time limit or Ctrl-C left running."""
    if process.poll() is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    if container is not None:
        # The container does not end with its client.
        subprocess.run([program, "kill", container], capture_output=True, check=False)
