"""What the trained models of a run weigh, and maps of how they represent utterances."""
