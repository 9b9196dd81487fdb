"""Measuring the networks of an experiment on a device."""
