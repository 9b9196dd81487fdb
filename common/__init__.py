"""What all commands share, and the data that passes between them; no TensorFlow, no Keras."""
