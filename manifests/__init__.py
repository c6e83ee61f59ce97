"""Utterances and manifests (`schema`), tasks (`protocol`, one TOML file per task), folds and scores."""
