"""utterances.csv: who speaks in each tested utterance, and where; intervals, groups and comparisons read it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emofuse.manifests.gender import gender_of
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Utterance

COLUMNS = ("speaker", "session", "dialogue", "split")
"""The attributes of an utterance that have a column of their own."""
_YES_NO = {True: "yes", False: "no", None: ""}


def utterance_rows(
    protocol: Protocol, utterances: Sequence[Utterance], ids: Sequence[str], text_in_training: Mapping[str, bool] = {}
) -> list[dict[str, str]]:
    """The rows of utterances.csv: one per id, in order; what is unknown is empty.

    `gender` is known for some corpora. `sentence` is a number that equal sentences share, counted from 1 in this table.

    Args:
        utterances: All of `ids` and any others.
        ids: May repeat, as over seeds.
        text_in_training: Id -> whether the text is also on the training side; utterances without text have none.
    """
    corpus = "" if protocol.joint else protocol.corpus
    by_id = {u.id: u for u in utterances}
    members = [by_id[id] for id in dict.fromkeys(ids)]
    sentences = {s: str(i) for i, s in enumerate(dict.fromkeys(u.sentence for u in members if u.sentence), 1)}
    return [
        {"id": u.id}
        | {name: getattr(u, name) or "" for name in COLUMNS}
        | {"gender": gender_of(u, corpus) or "", "sentence": sentences.get(u.sentence or "", "")}
        | {"text_in_training": _YES_NO[text_in_training.get(u.id)]}
        for u in members
    ]
