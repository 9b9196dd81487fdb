"""The flags that `converters.convert` and `converters.edgetpu` share.

`define` defines them, not the import of this module: a module with flags is a command.
"""

from absl import flags

from converters.edgetpu_target.compiler import PROGRAM, EdgeTpuSettings

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags; a command calls it when it is imported."""
    default = EdgeTpuSettings()
    flags.DEFINE_string(
        "edgetpu_compiler", None, f"Path of {PROGRAM}; by default it is searched on PATH."
    )
    flags.DEFINE_string("edgetpu_docker", None, f"Docker image that has {PROGRAM} on its PATH.")
    flags.DEFINE_integer(
        "edgetpu_timeout", default.timeout, f"Seconds that a run of {PROGRAM} may take."
    )
    flags.DEFINE_bool(
        "require_full_mapping",
        False,
        f"Fail unless {PROGRAM} maps all operators of the deployment graph to the Edge TPU.",
    )


def read() -> EdgeTpuSettings:
    """Returns the checked flags.

    Raises:
      UserError: a flag cannot be used; the message names it.
    """
    return EdgeTpuSettings(
        compiler=FLAGS.edgetpu_compiler,
        docker=FLAGS.edgetpu_docker,
        timeout=FLAGS.edgetpu_timeout,
        require_full_mapping=FLAGS.require_full_mapping,
    )
