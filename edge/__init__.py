"""From files to measured numbers; runs where TensorFlow does not run."""
