"""Edge TPU: what it maps, the compiler, and the compiler's log."""
