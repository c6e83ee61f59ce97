"""What an utterance is (`schema`) and what a task is (`protocol`, with one TOML file per task)."""
