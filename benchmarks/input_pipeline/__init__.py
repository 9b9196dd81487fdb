"""Compares the input pipeline with plain tf.data and PyTorch's DataLoader."""
