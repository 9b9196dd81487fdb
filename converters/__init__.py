"""From a trained model to files that devices run."""
