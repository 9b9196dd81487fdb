"""How weights change: optimizers, learning-rate schedules, averages of weights."""
