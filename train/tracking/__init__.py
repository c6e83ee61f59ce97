"""Finished runs in experiment trackers: TensorBoard, MLflow, Weights & Biases."""
