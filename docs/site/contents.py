"""The table of contents of the site: what its side bar lists, in this order."""

from __future__ import annotations

_PARTS = {
    "Tutorials": """
        tutorials/first-fit
        notebooks/first_fit
        tutorials/iemocap-smcn
        tutorials/meld
        tutorials/your-recordings
        tutorials/share-a-store
        tutorials/slurm
        tutorials/predict-new-clips
        tutorials/compare-two-models""",
    "How-to": """
        how-to/extraction
        how-to/custom
        how-to/extending
        how-to/finetuning
        how-to/fitting
        how-to/comparing
        how-to/evaluating
        how-to/predicting
        how-to/reports
        how-to/tracking
        how-to/exporting
        how-to/exchange""",
    "Reference": """
        reference/corpora
        reference/encoders
        reference/models
        reference/protocols
        reference/protocol-list
        reference/reproduce
        reference/stores
        reference/format
        reference/runs
        reference/commands
        reference/python""",
    "Explanation": """
        explanation/evaluation
        explanation/padding
        explanation/hdf5
        explanation/architecture
        explanation/decisions
        explanation/dependencies""",
    "More": """
        results
        errors
        contributing
        changes
        benchmarks""",
}


def _contents(part: str, pages: str) -> str:
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {part}", "", *pages.split(), "```"])


CONTENTS = "\n" + "\n\n".join(_contents(part, pages) for part, pages in _PARTS.items()) + "\n"
"""Sphinx's tables of contents, for the end of the home page."""
