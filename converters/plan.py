"""Lists the networks that fit a device, by their measured memory and file size, best first.

Examples:
  shufflenet plan --sram=320KB --flash=1MB --classes=10
  shufflenet plan --task=detection --sram=320KB --classes=3 --strides=8,16
"""

import sys
from pathlib import Path

from absl import flags

from common import cli
from common.amounts import parse_amount
from common.choices import whole_numbers
from common.tflite import vela_flags
from common.tflite.vela_settings import ACCELERATORS
from converters.planning.config import (
    LARGEST_SIZE,
    RANKS,
    SIZES,
    SMALLEST_SIZE,
    TARGETS,
    Budget,
    PlanConfig,
    default_cache,
)
from trainers.settings import TASKS
from trainers.startup import import_tensorflow

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "sram",
    None,
    "RAM for the network, such as 320KB (KB and KiB are 1024 bytes); compared with "
    + ", ".join(f"{ram} ({target})" for target, (ram, _) in TARGETS.items())
    + ".",
)
flags.DEFINE_string("dram", None, "For ethosu: DRAM beside the SRAM, such as 2MB.")
flags.DEFINE_string(
    "flash",
    None,
    "Memory for the file, such as 1MB; compared with "
    + ", ".join(f"{file} ({target})" for target, (_, file) in TARGETS.items())
    + ". The runtime's own code comes on top.",
)
flags.DEFINE_string(
    "latency",
    None,
    "Time for one image, such as 50ms; compared with Vela's estimate (ethosu) or with "
    "multiply-adds / --macs_per_second (micro).",
)
flags.DEFINE_string("target", "micro", f"One of {', '.join(TARGETS)}.")
flags.DEFINE_string(
    "task", TASKS[0], f"{' or '.join(TASKS)}: plan classifiers, or detectors with these flags."
)
flags.DEFINE_list(
    "networks",
    None,
    "Networks such as v2-0.5x and v1-1x-g3, separated by commas; a V2 with your own widths is "
    "v2-STEM-STAGE2-STAGE3-STAGE4-HEAD; -small after a name is for images of 32 to 64 pixels. By "
    "default all of the papers and narrower ones, also those for small images, at such --sizes. "
    "Detectors end with a neck instead of a head: v2-0.5x-pan, v2-8-16-32-64-fpn32.",
)
flags.DEFINE_list(
    "strides",
    None,
    "For detection: where boxes are found, some of 8,16,32 (default: all; fused: 16).",
)
flags.DEFINE_list("sizes", list(map(str, SIZES)), "Heights (and widths) of the images, in pixels.")
flags.DEFINE_integer("classes", 10, "Number of classes; each needs a row of weights.")
flags.DEFINE_integer("channels", 3, "Number of channels of the images: 1 or 3.")
flags.DEFINE_string(
    "accelerator", "ethos-u55-128", f"For ethosu, one of {', '.join(ACCELERATORS)}."
)
vela_flags.define("For ethosu: ", "performance and, where that does not fit, size")
flags.adopt_module_key_flags(vela_flags)
flags.DEFINE_float(
    "macs_per_second", None, "For micro and --latency: your chip's multiply-adds, as measured."
)
flags.DEFINE_string(
    "rank",
    "macs",
    f"One of {', '.join(RANKS)}: most multiply-adds first, or best published accuracy (ImageNet, "
    "224 px) first.",
)
flags.DEFINE_integer("top", 20, "List at most this many networks.")
flags.DEFINE_string("cache", str(default_cache()), "Folder where measurements are kept.")


def main() -> None:
    """Reads the flags, measures and prints the table."""
    same = (
        "task",
        "target",
        "classes",
        "channels",
        "accelerator",
        "macs_per_second",
        "rank",
        "top",
    )
    config = PlanConfig(
        budget=Budget(
            sram=parse_amount("sram", FLAGS.sram),
            dram=parse_amount("dram", FLAGS.dram),
            flash=parse_amount("flash", FLAGS.flash),
            latency_ms=parse_amount("latency", FLAGS.latency),
        ),
        networks=None if FLAGS.networks is None else tuple(FLAGS.networks),
        sizes=whole_numbers("sizes", FLAGS.sizes, SMALLEST_SIZE, LARGEST_SIZE),
        strides=None
        if FLAGS.strides is None
        else whole_numbers("strides", FLAGS.strides, 1, LARGEST_SIZE),
        cache=Path(FLAGS.cache),
        vela=vela_flags.read(),
        **{name: FLAGS[name].value for name in same},
    )
    if FLAGS["cache"].present:
        # A folder that cannot be made is reported before time is spent.
        config.cache.mkdir(parents=True, exist_ok=True)
    # Imported here, so that a wrong flag is reported before TensorFlow takes seconds to load.
    import_tensorflow()
    from converters.planning.search import first_rows, make_plan, report

    # Not on stdout, which has the measured table alone.
    print(first_rows(config), file=sys.stderr, flush=True)
    plan = make_plan(config)
    print(report(plan, config), flush=True)
    if plan.interrupted:
        raise KeyboardInterrupt


def entry_point() -> None:
    """Starts the command."""
    cli.run(main)


if __name__ == "__main__":
    entry_point()
