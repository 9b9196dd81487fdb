"""What commands write to the screen: tables, progress, and text that any screen takes."""
