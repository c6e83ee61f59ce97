"""Models in ONNX files as encoders."""
