"""TensorFlow's start, which takes seconds and tells much."""

from trainers.quiet import quiet_stderr


def import_tensorflow() -> None:
    """Imports TensorFlow and has it look for its devices, without a word about either.

    TF_CPP_MIN_LOG_LEVEL does not silence what it prints before its logging is set up.
    """
    with quiet_stderr():
        import tensorflow as tf

        tf.config.list_physical_devices()
