"""Speech recognition for utterances without a text (`extract --transcribe`)."""
