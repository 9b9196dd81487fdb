"""Programs on Cortex-M boards that QEMU emulates: built, run, and their instructions counted."""
