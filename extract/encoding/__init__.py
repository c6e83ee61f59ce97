"""The extraction loop: reading, encoding and writing overlap, each in separate threads."""
