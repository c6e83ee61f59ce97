"""The votes of the raters behind a label, as text in `Utterance.extra`: `A:3 N:1`.

Each entry is a label of the corpus and the number of raters that chose it; the most frequent comes first. A manifest
of your own may have a column of this name and form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

VOTES = "votes"
"""The key of `Utterance.extra`."""
_SEPARATORS = frozenset(":,;|")
"""What other tables put between votes; no label has them."""


def votes_text(labels: Iterable[str]) -> str:
    """The votes as text, from the label that each rater chose; a label has no blank and no colon."""
    counts = Counter(labels)
    return " ".join(f"{label}:{n}" for label, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def parse_votes(text: str) -> dict[str, float]:
    """Label -> votes, from text such as `A:3 N:1`; shares such as `A:0.75 N:0.25` are accepted as well.

    Raises:
        ValueError: The text is not of this form, or the votes are negative, not finite, or sum to nothing; shares must
            sum to 1.
    """
    votes: dict[str, float] = {}
    for entry in text.split():
        label, colon, number = entry.rpartition(":")
        if not colon or not label:
            raise ValueError(f"{entry!r} is not LABEL:VOTES")
        if set(label) & _SEPARATORS:
            raise ValueError(f"{entry!r} is not LABEL:VOTES; separate the votes by blanks, such as 'A:3 N:1'")
        try:
            count = float(number)
        except ValueError:
            raise ValueError(f"{entry!r}: {number!r} is not a number") from None
        if not 0 <= count < float("inf"):
            raise ValueError(f"{entry!r}: votes are numbers from 0")
        votes[label] = votes.get(label, 0.0) + count
    total = sum(votes.values())
    if not total:
        raise ValueError("there is no vote")
    if any(v != int(v) for v in votes.values()) and abs(total - 1) > 1e-3:
        raise ValueError(f"the shares sum to {total:g}, expected 1 (or whole numbers of votes)")
    return votes
