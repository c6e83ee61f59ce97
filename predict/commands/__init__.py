"""The command `emofuse predict`."""
