"""What is converted: a model, and the data that calibrates and checks it, from files or Python."""
