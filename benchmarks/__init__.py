"""What the deployment graph gains, measured on the machine at hand: `make bench`."""
