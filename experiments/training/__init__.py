"""Training the networks of an experiment, one after the other."""
