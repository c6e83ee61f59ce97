"""A corpus, an encoder and a fusion model outside emofuse, registered through entry points (see pyproject.toml)."""
