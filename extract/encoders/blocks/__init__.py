"""What several encoders share: pretrained transformers, log-Mel patches, ONNX, frame counts."""
