"""The features of a fit: selected, joined over stores, combined, or written once a fold."""
