"""TensorFlow's start, which takes seconds and tells much."""

import contextlib
import gc
import sys
from collections.abc import Iterator

from common.quiet import quiet_stderr

# Keras imports them for scikit-learn's interface and for galleries of images, if they are there,
# which takes a second or two.
_NOT_NEEDED = ("matplotlib", "sklearn")
# Objects after which Python searches for garbage. Tracing makes them by the hundred thousand, and
# they stay; Python's own 700 are for programs that make fewer.
_OBJECTS = 20_000


def import_tensorflow() -> None:
    """Imports TensorFlow and has it look for its devices, without a word about either.

    TF_CPP_MIN_LOG_LEVEL does not silence what it prints before its logging is set up. Keras's
    interface to scikit-learn does not work afterwards.
    """
    with quiet_stderr(), _missing(_NOT_NEEDED), _nothing_discarded():
        import tensorflow as tf

        tf.config.list_physical_devices()


@contextlib.contextmanager
def _nothing_discarded() -> Iterator[None]:
    """Has Python not search for garbage in the block, nor later among what the block has made.

    Modules stay, and looking through a million objects of theirs again and again takes long.
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
    """Has imports of packages fail in the block, as if they were not installed."""
    hidden = [name for name in names if name not in sys.modules]
    # None: Python's own mark of what cannot be imported.
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
