"""`.tflite` files: their contents as data, and the programs that run or compile them."""
