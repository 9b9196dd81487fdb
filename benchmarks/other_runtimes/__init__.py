"""The same network in ONNX Runtime, OpenVINO and ncnn."""
