"""Files that are converted once and measured side by side."""
