"""Files of users: read with limits, and replaced without a loss."""
