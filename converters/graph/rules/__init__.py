"""How each class of Keras's layers is written in the deployment graph: one function a class."""
