"""Self-contained HTML pages made of blocks, and each block as a file of its own; needs the extra `report`."""
