"""One fold: the training loop, its steps, checkpoints, and the test evaluation."""
