"""The flags of Vela's settings, for the commands that run it.

`define` defines them, not the import of this module: a module with flags is a command.
"""

from absl import flags

from common.amounts import parse_amount
from common.tflite.vela_settings import OPTIMISE, VelaSettings

FLAGS = flags.FLAGS


def define(where: str, default: str = "performance") -> None:
    """Defines the flags; a command calls it when it is imported.

    Args:
      where: begins each flag's help: when it counts.
      default: what happens without --optimise, in words.
    """
    flags.DEFINE_string(
        "system_config",
        None,
        f"{where}the clock and memories around the NPU, by the name in Vela's configuration, such "
        "as Ethos_U55_Deep_Embedded; by default Vela's choice.",
    )
    flags.DEFINE_string(
        "memory_mode",
        None,
        f"{where}which memory holds weights, feature maps and their cache, by the name in Vela's "
        "configuration, such as Sram_Only; by default Vela's choice.",
    )
    flags.DEFINE_string(
        "optimise",
        None,
        f"{where}{' or '.join(OPTIMISE)}: few cycles or little SRAM; by default {default}.",
    )
    flags.DEFINE_string(
        "arena_limit", None, f"{where}the most SRAM that Vela may use, such as 384KB."
    )


def read() -> VelaSettings:
    """Returns the checked flags; the names are checked by `check_settings`.

    Raises:
      UserError: a flag cannot be used; the message names it.
    """
    limit = parse_amount("arena_limit", FLAGS.arena_limit)
    return VelaSettings(
        system_config=FLAGS.system_config,
        memory_mode=FLAGS.memory_mode,
        optimise=FLAGS.optimise,
        arena_limit=None if limit is None else int(limit),
    )
