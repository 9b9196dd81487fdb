"""What a trained detector finds: in files, in pictures, against the truth."""
