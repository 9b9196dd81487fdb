"""From images to a trained model."""

import os

# Set before TensorFlow is imported: its start-up messages would hide the one line that matters.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The training loop is tf.distribute's; only the networks run on any backend.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# By default, TensorFlow uses oneDNN's kernels only on CPUs with AVX-512 VNNI or AMX. They make a
# training step faster with AVX2 too: compare benchmarks.training_speed with 0 and with 1.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
