"""What the test side of a fold shares with training: audio, texts, an encoder's training data; and missing classes."""
