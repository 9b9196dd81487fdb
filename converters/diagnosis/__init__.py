"""Where int8 differs: between runtimes, and layer by layer."""
