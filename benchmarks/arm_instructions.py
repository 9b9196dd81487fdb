"""Compares graphs on ARM without an ARM processor: instructions per inference, counted by qemu.

XNNPACK's own kernels for ARM run, int8, on one thread. An instruction is not a time: processors
execute several in one cycle, and wait for memory. The counts are nearly the same in every run.
`make bench-arm` fetches what is needed.

Example:
  python -m benchmarks.arm_instructions --networks=v2-0.5x --cpus=cortex-a76
"""

from pathlib import Path

from absl import flags

from benchmarks.measuring.results import Destination, define_flags
from common import cli
from common.console.progress import Progress
from common.console.table import markdown_table
from converters.source_digest import versions
from trainers.startup import import_tensorflow

_NETWORKS = flags.DEFINE_list(
    "networks", ["v2-0.5x", "v2-1x", "v1-1x-g3"], "Networks, separated by commas."
)
_CPUS = flags.DEFINE_list(
    "cpus", ["cortex-a76", "cortex-a53"], "CPUs of qemu; the first has dot products of int8."
)
_CACHE = flags.DEFINE_string(
    "cache", "build/benchmarks", "Folder of converted files, kept for the next run."
)
_GUEST = flags.DEFINE_string("guest", "build/arm-guest", "Folder that tools/arm_guest.sh made.")
_RUNS = flags.DEFINE_integer("runs", 5, "Inferences of each file.", lower_bound=1)
define_flags("arm_instructions")

_GRAPHS = ("canonical", "deployment")


def main() -> None:
    """Reads the flags, converts, counts, and writes the JSON file and the table."""
    destination = Destination.from_flags("arm_instructions")
    import_tensorflow()
    from benchmarks.measuring.arm_guest import instructions
    from benchmarks.measuring.files import int8_file
    from benchmarks.measuring.networks import check_names

    networks = check_names(_NETWORKS.value)
    run = destination.start(versions())
    pairs = [(network, graph) for network in networks for graph in _GRAPHS]
    files = [int8_file(network, graph, "cpu", Path(_CACHE.value)) for network, graph in pairs]
    run["cpus"] = {}
    with Progress("counting", len(_CPUS.value), unit="CPU") as progress:
        for cpu in _CPUS.value:
            found = instructions(Path(_GUEST.value), files, cpu, _RUNS.value)
            found["counts"] = [
                {"network": network, "graph": graph, "instructions": count}
                for (network, graph), count in zip(pairs, found["counts"], strict=True)
            ]
            run["cpus"][cpu] = found
            progress.update(len(run["cpus"]))
    # Others may have used this machine: they do not change a count.
    run["warning"] = None
    destination.write(run, _table(run["cpus"]))


def _table(cpus: dict) -> str:
    headers = ["CPU", "network", *[f"{graph}, million" for graph in _GRAPHS], "ratio"]
    rows = []
    for cpu, found in cpus.items():
        counts = {(one["network"], one["graph"]): one["instructions"] for one in found["counts"]}
        for network in dict.fromkeys(network for network, _ in counts):
            usual, ours = (counts[network, graph] for graph in _GRAPHS)
            millions = [f"{count / 1e6:.1f}" for count in (usual, ours)]
            rows.append([cpu, network, *millions, f"**{usual / ours:.2f}x**"])
    return markdown_table(headers, rows)


if __name__ == "__main__":
    cli.run(main)
