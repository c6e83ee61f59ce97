"""Read-only views of stores for people: describe, list, show, draw, verify, measure precision."""
