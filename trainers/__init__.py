"""From images to a trained model."""

import os

# Before TensorFlow is imported: its start-up notes drown the one line that matters.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The training loop is tf.distribute's; only the networks run on any backend.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# TensorFlow takes oneDNN's kernels by itself only on CPUs with AVX-512 VNNI or AMX. With AVX2
# alone, too, they make a training step faster; benchmarks.training_speed with 0 and 1 tells.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
