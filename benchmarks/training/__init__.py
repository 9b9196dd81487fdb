"""Training steps and whole trainings, measured."""
