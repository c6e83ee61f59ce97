"""The figures of the papers, drawn from finished runs."""
