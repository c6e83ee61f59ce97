"""The command line: the group of commands, `--config`, `--version`, help pages, completion."""
