"""From files of images to classes: what `predict` and `evaluate` share."""
