"""Names: of speakers in several spellings, of utterances in EmoBox, and of several corpora joined."""
