"""What error messages quote from other libraries."""

from __future__ import annotations


def first_line(error: Exception) -> str:
    """The first non-empty line of an exception's text; its class name where there is no text."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
