"""An image on its way to the network: decoded, cropped, augmented."""
