"""The networks of a training, the weights they start from, and the teacher."""
