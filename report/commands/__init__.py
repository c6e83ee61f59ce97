"""The commands `emofuse report` and `emofuse store explore`."""
