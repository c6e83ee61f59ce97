"""Which test utterances are shown."""

from __future__ import annotations

from collections.abc import Sequence

from emofuse.train.inspection.predicted_fold import Predicted


def telling_utterances(tested: Sequence[Predicted], classes: Sequence[str], most: int) -> list[int]:
    """Indices of the most confident right and the most confident wrong utterance of each class, class by class.

    With more of them than `most`, the classes with the fewest utterances are left out.
    """
    of_class = {name: [i for i, t in enumerate(tested) if t.label == name] for name in classes}
    shown = {
        name: [
            max(found, key=lambda i: tested[i].confidence)
            for right in (True, False)
            if (found := _of(tested, members, right))
        ]
        for name, members in of_class.items()
    }
    kept: set[str] = set()
    count = 0
    for name in sorted(classes, key=lambda name: -len(of_class[name])):
        if count + len(shown[name]) <= most:
            kept.add(name)
            count += len(shown[name])
    return [i for name in classes if name in kept for i in shown[name]]


def _of(tested: Sequence[Predicted], members: Sequence[int], right: bool) -> list[int]:
    return [i for i in members if tested[i].right == right]
