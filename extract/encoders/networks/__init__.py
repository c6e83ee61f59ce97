"""Networks that no library provides: their shapes and their forward pass over parameters by name."""
