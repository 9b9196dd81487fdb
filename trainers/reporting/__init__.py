"""The output of a training: screen, metrics, confusion matrices, the report page."""
