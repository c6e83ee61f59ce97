"""The fusion models, one file per architecture; `registry.MODELS` names them all."""
