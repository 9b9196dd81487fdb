"""Measures our int8 network in LiteRT against ONNX Runtime, OpenVINO and ncnn, on one thread.

Every runtime gets the same network with the same weights, float32 and int8, with its shuffles
and without, and what it computes is compared with Keras before it is timed. Weights are random:
nothing here is evidence of accuracy.

Example:
  python -m benchmarks.runtimes --networks=v2-1x --runtimes=onnxruntime
"""

import shlex
import sys
from pathlib import Path

from absl import flags

from benchmarks import turn_flags
from benchmarks.report import write_results
from benchmarks.runtime_models import check_runtimes
from benchmarks.runtime_models import versions as runtime_versions
from edge.provenance import describe_run
from trainers import cli
from trainers.document import read_document
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks",
    ["v2-0.5x", "v2-1x", "v2-1.5x", "v2-2x", "v1-1x-g3"],
    "Networks, separated by commas.",
)
_RUNTIMES = flags.DEFINE_list(
    "runtimes", None, "Runtimes beside LiteRT: onnxruntime, openvino, ncnn; all by default."
)
_OUTPUT = flags.DEFINE_string("output", "benchmarks/results", "Folder for runtimes.json.")
_DOCUMENT = flags.DEFINE_string(
    "document", "docs/benchmarks.md", "Markdown that gets the table between its markers."
)
_CACHE = flags.DEFINE_string("cache", "build/benchmarks", "Folder for converted files.")
turn_flags.define(rounds=20)
# So that --help shows them.
flags.adopt_module_key_flags(turn_flags)


def main() -> None:
    """Reads the flags, converts, checks, measures, and writes the JSON file and the table."""
    document = Path(_DOCUMENT.value)
    read_document(document)
    command = shlex.join(["python", "-m", "benchmarks.runtimes", *sys.argv[1:]])
    runtimes = check_runtimes(_RUNTIMES.value)
    packages = runtime_versions(runtimes)
    import_tensorflow()
    from benchmarks.networks import check_names
    from benchmarks.runtime_comparison import RuntimesConfig, compare_all, runtimes_table
    from converters.source_digest import versions

    config = RuntimesConfig(
        networks=check_names(_NETWORKS.value),
        runtimes=runtimes,
        cache=Path(_CACHE.value),
        turns=turn_flags.read(),
    )
    # First, because converting is load as well.
    run = describe_run(command, {**versions(), **packages})
    if run["warning"]:
        print(f"warning: {run['warning']}; the times will be noisy", file=sys.stderr)
    run["networks"] = compare_all(config)
    table = runtimes_table(run["networks"])
    write_results(Path(_OUTPUT.value), document, "runtimes", run, table)
    print(table)


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
