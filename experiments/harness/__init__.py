"""What all experiments share: the question, the command, the results as files."""
