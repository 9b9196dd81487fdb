"""What every command shares, and what passes between them; no TensorFlow, no Keras."""
