"""From a trained model to checked .tflite files in an artifact."""
