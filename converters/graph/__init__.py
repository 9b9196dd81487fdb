"""The deployment graph: read from Keras, rewritten, and emitted for a target."""
