"""The networks that the papers compare ShuffleNets with, and their building blocks."""
