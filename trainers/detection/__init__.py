"""Object detection: batches, which point learns which box, the loss; `data` reads the boxes."""
