"""The commands of stage 2: `fit`, `emofuse models` and `emofuse reproduce`."""
