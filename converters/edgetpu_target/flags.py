"""The flags that `converters.convert` and `converters.edgetpu` share.

They are defined by a call and not by the import: a module with flags is a command.
"""

from absl import flags

from converters.edgetpu_target.compiler import PROGRAM, EdgeTpuSettings

FLAGS = flags.FLAGS


def define() -> None:
    """Defines the flags; a command calls it at its top."""
    default = EdgeTpuSettings()
    flags.DEFINE_string(
        "edgetpu_compiler", None, f"Path of {PROGRAM}; by default it is looked for on PATH."
    )
    flags.DEFINE_string(
        "edgetpu_docker", None, f"Image of a Docker container that has {PROGRAM} on its PATH."
    )
    flags.DEFINE_integer(
        "edgetpu_timeout", default.timeout, f"Seconds that a run of {PROGRAM} may take."
    )
    flags.DEFINE_bool(
        "require_full_mapping",
        False,
        f"Fail unless {PROGRAM} maps all operators of the deployment graph to the Edge TPU.",
    )


def read() -> EdgeTpuSettings:
    """Returns the flags, checked.

    Raises:
      UserError: a flag cannot be used; it is named.
    """
    return EdgeTpuSettings(
        compiler=FLAGS.edgetpu_compiler,
        docker=FLAGS.edgetpu_docker,
        timeout=FLAGS.edgetpu_timeout,
        require_full_mapping=FLAGS.require_full_mapping,
    )
