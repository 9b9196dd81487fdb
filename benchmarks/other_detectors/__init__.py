"""Our detectors beside detectors of others, each in the runtimes that it is published for."""
