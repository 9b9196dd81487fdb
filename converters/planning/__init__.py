"""Which networks fit a device: measured before anything is trained."""
