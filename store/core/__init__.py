"""The format itself: what a feature is, how a store is opened, laid out, written and assembled."""
