"""Features of a plan as ragged buffers, in memory or mapped, and padded batches of them."""
