"""Measures training steps and whole trainings."""
