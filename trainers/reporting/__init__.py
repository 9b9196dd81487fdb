"""What a training shows: the screen, metrics, confusion matrices, the report page."""
