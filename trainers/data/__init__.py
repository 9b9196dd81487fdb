"""Images into batches: data sets, decoding, augmentation, the input pipeline."""
