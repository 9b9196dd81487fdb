"""From images to a trained model."""

import os

# Before TensorFlow is imported: its start-up notes drown the one line that matters.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The training loop is tf.distribute's; only the networks run on any backend.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow takes oneDNN's kernels by itself only on CPUs with AVX-512 VNNI or AMX. On those with
# AVX2 alone, too, a training step takes two thirds of the time with them.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
