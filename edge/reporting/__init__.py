"""The page of measurements: its data, plots and tables."""
