"""The votes of the raters behind a label, as text in `Utterance.extra`: `A:3 N:1`.

Each entry is a label of the corpus and the number of raters that chose it; the most frequent comes first. A manifest
of your own may have a column of this name and form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

VOTES = "votes"
"""The key of `Utterance.extra`."""


def votes_text(labels: Iterable[str]) -> str:
    """The votes as text, from the label that each rater chose; a label has no blank and no colon."""
    counts = Counter(labels)
    return " ".join(f"{label}:{n}" for label, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))
