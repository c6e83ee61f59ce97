"""One file per family of frozen encoders; `registry.ENCODERS` names them all."""
