"""The flags of `converters.convert` for the arena of TFLite Micro.

`define` defines them, not the import of this module: a module with flags is a command.
"""

from absl import flags

from common.amounts import parse_amount
from converters.micro_target.settings import BANDS, MemorySettings, parse_share

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags; a command calls it when it is imported."""
    default = MemorySettings()
    flags.DEFINE_string(
        "bands",
        default.bands,
        f"{' or '.join(BANDS)}. With --target=micro: compute the beginning of the network in "
        "horizontal bands if that makes the arena smaller (auto), with the same results bit for "
        "bit, or as a whole (off).",
    )
    flags.DEFINE_string(
        "max_overhead",
        f"{default.max_overhead:.0%}",
        "With --target=micro: the most multiply-adds that bands may add, such as 10%.",
    )
    flags.DEFINE_string(
        "arena",
        None,
        "With --target=micro: the most memory that TFLite Micro may need, such as 128KB, with as "
        "few extra multiply-adds as possible; by default the arena is made as small as it gets.",
    )


def read() -> MemorySettings:
    """Returns the checked flags.

    Raises:
      UserError: a flag cannot be used; the message names it.
    """
    arena = parse_amount("arena", FLAGS.arena)
    return MemorySettings(
        bands=FLAGS.bands,
        max_overhead=parse_share("max_overhead", FLAGS.max_overhead),
        arena=None if arena is None else int(arena),
    )
