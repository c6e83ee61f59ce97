"""Speech recognition for corpora without transcripts."""
