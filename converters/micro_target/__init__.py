"""TFLite Micro: a firmware folder in C++."""
