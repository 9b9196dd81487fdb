"""The input pipeline against plain tf.data and PyTorch's DataLoader."""
