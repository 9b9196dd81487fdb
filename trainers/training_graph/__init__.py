"""A network's training graph: the same layers and weights, but faster on CPUs."""
