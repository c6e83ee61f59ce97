"""Stage 2: a store in, a cross-validated run out. Needs no transformers and no torchaudio."""
