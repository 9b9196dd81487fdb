"""ONNX: the deployment graph for OpenVINO, ONNX Runtime, TensorRT and makers' own compilers."""
