"""Stage 1: a corpus and a frozen encoder in, a store out."""
