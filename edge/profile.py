"""Shows where the time of .tflite files goes: by operator and by kind of operator.

The files are those of an artifact, the folder that `shufflenet convert` writes, or any others.

Example:
  shufflenet profile --artifact=artifact --output=profile
"""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from absl import flags

from common import cli
from common.artifact import Artifact
from common.cli import UserError
from common.files import sha256, write_text
from common.pages.document import read_document, replace_section
from edge.devices.flags import MAX_RUNS, MAX_THREADS
from edge.profiling.picture import save_picture
from edge.profiling.run import AUTO, ProfileRequest, profile_files
from edge.profiling.table import caution, kind_table, markdown, operator_table, pairs, side_by_side
from edge.provenance import busy_note, busy_warning, describe
from edge.running.measurement import SCHEMA_VERSION, append_measurements, describe_machine, now

_ARTIFACT = flags.DEFINE_string("artifact", None, "The folder that shufflenet convert wrote.")
_FILES = flags.DEFINE_list(
    "files",
    [],
    "Names of the artifact's files to profile, all by default; without --artifact, paths of "
    ".tflite files.",
)
_RUNS = flags.DEFINE_integer("runs", 100, "Timed inferences of each file, in interleaved rounds.")
_WARMUP = flags.DEFINE_integer("warmup", 10, "Inferences of each file before the timed ones.")
_THREADS = flags.DEFINE_integer("threads", 1, "CPU threads.")
_METHOD = flags.DEFINE_string(
    "method",
    AUTO,
    "profiler (LiteRT's own), single (each operator as a separate file), or auto: profiler if "
    "this LiteRT supports it, else single.",
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "Folder for profile.jsonl (lines are appended; edge.report reads it), profile.txt with all "
    "operators, and profile.png.",
)
_DOCUMENT = flags.DEFINE_string(
    "document",
    None,
    "Markdown file in which the tables replace the lines between <!-- profile: begin --> and "
    "<!-- profile: end -->.",
)

_SLOWEST = 8
_MARKER = "profile"


@dataclass(frozen=True)
class ProfileConfig:
    """The flags, checked.

    Attributes:
      artifact: folder, or None.
      files: names in the artifact; without an artifact, paths.
      request: how to measure.
      output: folder, or None.
      document: markdown file, or None.
    """

    artifact: Path | None
    files: tuple[str, ...]
    request: ProfileRequest
    output: Path | None
    document: Path | None

    def __post_init__(self):
        if self.artifact is None and not self.files:
            raise UserError("--artifact is missing; name a folder that shufflenet convert wrote")


def main() -> None:
    """Reads the flags, profiles, prints tables and writes the files that were asked for."""
    config = ProfileConfig(
        artifact=None if not _ARTIFACT.value else Path(_ARTIFACT.value),
        files=tuple(_FILES.value),
        request=_request(),
        output=None if not _OUTPUT.value else Path(_OUTPUT.value),
        document=None if not _DOCUMENT.value else Path(_DOCUMENT.value),
    )
    headers, paths = _files(config)
    if config.document:
        # Rejects a document without the markers before anything is measured.
        replace_section(read_document(config.document), _MARKER, "")
    if config.output:
        config.output.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    profiles = profile_files(paths, config.request)
    records = [
        {**header, "machine": machine, "operator_profile": profile}
        for header, profile in zip(headers, profiles, strict=True)
    ]
    print(_summary(records, _SLOWEST))
    _write(config, records)


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


def _request() -> ProfileRequest:
    cli.check_bounds("threads", _THREADS.value, 1, MAX_THREADS)
    for flag in (_RUNS, _WARMUP):
        cli.check_bounds(flag.name, flag.value, 0, MAX_RUNS)
    try:
        return ProfileRequest(_RUNS.value, _WARMUP.value, _THREADS.value, _METHOD.value)
    except ValueError as error:
        raise UserError(f"--{error}") from None


def _files(config: ProfileConfig) -> tuple[list[dict], list[Path]]:
    """Returns what the records say about the files, and their paths."""
    if config.artifact is None:
        paths = [Path(name) for name in config.files]
        distinct = len({path.name for path in paths}) == len(paths)
        names = [path.name if distinct else str(path) for path in paths]
        return [
            _header(config, path, name, {}) for path, name in zip(paths, names, strict=True)
        ], paths
    artifact = Artifact.open(config.artifact)
    entries = artifact.files
    names = config.files or sorted(
        entries, key=lambda name: (entries[name]["quantization"], entries[name]["graph"])
    )
    paths = [artifact.path(name) for name in names]
    manifest = [{**entries[name], "model": artifact.name} for name in names]
    headers = [
        _header(config, path, name, entry)
        for path, name, entry in zip(paths, names, manifest, strict=True)
    ]
    return headers, paths


def _header(config: ProfileConfig, path: Path, name: str, entry: dict) -> dict:
    if not path.is_file():
        raise UserError(f"{path} does not exist or is not a file; check --files")
    return {
        "schema_version": SCHEMA_VERSION,
        "date": now(),
        "command": shlex.join(["shufflenet", "profile", *sys.argv[1:]]),
        "device": "host",
        "artifact": None if config.artifact is None else str(config.artifact),
        "model": entry.get("model", path.stem),
        "file": name,
        "sha256": entry.get("sha256") or sha256(path),
        "bytes": path.stat().st_size,
        "graph": entry.get("graph"),
        "quantization": entry.get("quantization"),
        "threads": config.request.threads,
        "warmup": config.request.warmup,
    }


def _summary(records: list[dict], slowest: int | None) -> str:
    parts = [kind_table(records)]
    for canonical, deployment in pairs(records):
        parts.append(side_by_side(canonical, deployment))
    title = "all operators" if slowest is None else f"the slowest {slowest} operators of each file"
    parts.append(f"{title}\n{operator_table(records, slowest)}")
    profile = records[0]["operator_profile"]
    parts.append(
        f"Method: {profile['method_description']}. us: the mean of the middle half of "
        f"{profile['runs']} runs; the files were measured in interleaved rounds."
    )
    parts += [busy_note(records[0]["machine"]), caution(records)]
    return "\n\n".join(filter(None, parts))


def _write(config: ProfileConfig, records: list[dict]) -> None:
    if config.output:
        append_measurements(config.output / "profile.jsonl", records)
        write_text(config.output / "profile.txt", _summary(records, None) + "\n")
        save_picture(records, config.output / "profile.png")
    if config.document:
        content = f"{markdown(records)}\n\n{_about(records[0])}"
        text = read_document(config.document)
        write_text(config.document, replace_section(text, _MARKER, content))


def _about(record: dict) -> str:
    """Describes in words the machine, and whether others were using it."""
    # A profile depends on no package except LiteRT, whose version is in the machine's record.
    return describe({**record, "versions": {}, "warning": busy_warning(record["machine"])})


if __name__ == "__main__":
    entry_point()
