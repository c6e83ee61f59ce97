"""What a protocol predicts for an utterance: a class, raters' shares, several labels, or ratings on scales."""
