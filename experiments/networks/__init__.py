"""The networks that the papers compare with, and their building blocks."""
