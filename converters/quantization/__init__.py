"""int8: ranges from calibration, fake quantization, quantization-aware training."""
