"""MODEL_CARD.md: its sections, its numbers, and the terms of the corpora."""
