"""What a training trains: networks, the weights they start from, a teacher."""
