"""Imports TensorFlow, which takes seconds and prints a lot."""

import contextlib
import gc
import sys
from collections.abc import Iterator

from common.console.quiet import quiet_stderr

# If they are installed, Keras imports them for its scikit-learn interface and for image galleries,
# which takes a second or two.
_NOT_NEEDED = ("matplotlib", "sklearn")
# The number of new objects after which Python searches for garbage. Tracing makes hundreds of
# thousands of objects, and they stay; Python's default of 700 is for programs that make fewer.
_OBJECTS = 20_000


def import_tensorflow() -> None:
    """Imports TensorFlow and makes it look for its devices, without its messages.

    TF_CPP_MIN_LOG_LEVEL does not suppress what is printed before TensorFlow's logging is set up.
    Keras's interface to scikit-learn does not work afterwards.
    """
    with quiet_stderr(), _missing(_NOT_NEEDED), _nothing_discarded():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def _nothing_discarded() -> Iterator[None]:
    """Turns garbage collection off in the block, and later skips the objects made in the block.

    Modules stay loaded, and searching their million objects again and again takes long.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(_OBJECTS, *gc.get_threshold()[1:])
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _missing(names: tuple[str, ...]) -> Iterator[None]:
    """Makes imports of packages fail in the block, as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    # None is Python's own marker for a module that cannot be imported.
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
