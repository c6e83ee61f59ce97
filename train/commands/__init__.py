"""The commands of stage 2: `fit`, `models`, `reproduce`."""
