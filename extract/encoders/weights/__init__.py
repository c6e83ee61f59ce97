"""Finding pre-trained weights and reading tensors from their file formats."""
