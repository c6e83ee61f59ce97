"""Building blocks shared by several encoders: transformers, log-Mel patch networks, ONNX models, fine-tuning."""
