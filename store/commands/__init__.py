"""The command `emofuse store`, one module per group of subcommands."""
