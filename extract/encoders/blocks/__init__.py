"""Building blocks shared by several encoders: transformers, log-Mel patch networks, fine-tuning."""
