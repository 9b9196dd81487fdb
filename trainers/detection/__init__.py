"""Object detection: data sets of boxes, batches, which point learns which box, and the loss."""
