"""One TOML per published table or figure, and what runs and prints it beside our figures."""
