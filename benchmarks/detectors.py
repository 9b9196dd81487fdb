"""Compares our detectors in int8 with their usual conversion, and with detectors of others.

All run in interleaved rounds on one thread. Our weights are random and the others' their own:
nothing here is evidence of accuracy. Before anything is timed, what each file computes is compared
with Keras, or with another runtime. docs/detection.md says where the others' files are.

Example:
  python -m benchmarks.detectors --detectors=published
"""

from pathlib import Path

from absl import flags

from benchmarks.measuring.results import Destination, define_flags, define_turns, read_turns
from benchmarks.other_runtimes.models import PACKAGES
from benchmarks.other_runtimes.models import versions as runtime_versions
from common import cli
from common.choices import choose
from converters.source_digest import versions
from trainers.startup import import_tensorflow

_DETECTORS = flags.DEFINE_string(
    "detectors", None, "Folder of published detectors' files; without it, only ours are measured."
)
_RUNTIMES = flags.DEFINE_list(
    "runtimes",
    None,
    "Runtimes of the published detectors, some of onnxruntime, openvino, ncnn; all by default.",
)
_CACHE = flags.DEFINE_string("cache", "build/benchmarks", "Folder of converted files.")
define_flags("detectors", document="docs/detection.md")
define_turns(rounds=20)


def main() -> None:
    """Reads the flags, converts, checks, measures, and writes the JSON file and the table."""
    destination = Destination.from_flags("detectors")
    runtimes = choose("runtime", _RUNTIMES.value, PACKAGES) if _DETECTORS.value else ()
    packages = runtime_versions(runtimes)
    import_tensorflow()
    from benchmarks.other_detectors.comparison import DetectorsConfig, compare_all
    from benchmarks.other_detectors.table import detectors_table

    config = DetectorsConfig(
        folder=Path(_DETECTORS.value) if _DETECTORS.value else None,
        runtimes=runtimes,
        cache=Path(_CACHE.value),
        turns=read_turns(),
    )
    run = destination.start({**versions(), **packages}, noisy="times") | compare_all(config)
    destination.write(run, detectors_table(run["rows"], run["missing"]))


if __name__ == "__main__":
    cli.run(main)
