"""The commands of stage 1: each turns its options into one call of the library."""
