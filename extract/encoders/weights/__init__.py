"""Where pretrained weights come from: locating them, and the file formats they have."""
