"""From stores to padded batches: ragged buffers in memory or mapped, and loaders per fold."""
