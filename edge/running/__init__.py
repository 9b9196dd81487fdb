"""Running .tflite files in fresh processes, and timing them."""
