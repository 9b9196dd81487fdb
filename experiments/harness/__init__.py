"""What all experiments share: their settings, their list, and their results as files."""
