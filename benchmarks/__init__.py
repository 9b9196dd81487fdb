"""Measures on this machine what the deployment graph gains: `make bench`."""
