"""The papers' tables and figures, one TOML file each, and the code that runs them beside the published values."""
