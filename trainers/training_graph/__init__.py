"""A network's training graph: the same layers and weights, in less time on CPUs."""
