"""How EmoBox (Ma et al., Interspeech 2024) names utterances: `iemocap-Ses01F_impro01_F000`, `savee-JE-n23`.

A key is the name of the set, a dash, and mostly the name of the clip. Some sets have dashes where the release has
underscores, MELD's keys end with the split, and a few keep the file's suffix.
"""

from __future__ import annotations

import re

PREFIX = "emobox-"
"""How the name of a corpus begins that is a set of EmoBox: `emobox-aesdd`."""
_MELD = re.compile(r"(train|dev|test)_(dia\d+_utt\d+)")
_DASHED = ("cremad", "savee")
"""The corpora of emofuse whose ids EmoBox writes with dashes."""
_SUFFIX = re.compile(r"\.(wav|avi|mp4|m4a|flac|webm)$")


def dataset_of(corpus: str) -> str:
    """What `--dataset` reads a corpus by; the sets of EmoBox have one reader."""
    return "emobox" if corpus.startswith(PREFIX) else corpus


def emobox_key(corpus: str, id: str) -> str:
    """How EmoBox spells an utterance of a corpus; an id that already is a key stays as it is."""
    name = corpus.removeprefix(PREFIX)
    if id.startswith(f"{name}-"):
        return id
    if name == "meld" and (match := _MELD.fullmatch(id)):
        return f"meld-{match[2]}-{match[1]}"
    return f"{name}-{id.replace('_', '-') if name in _DASHED else id}"


def loose_key(name: str, id: str) -> str:
    """What is equal for an EmoBox key and the id of the same utterance in a store.

    The prefix of the set and a file suffix do not count, and `_` and `-` are the same.

    Args:
        name: The set, such as `iemocap`.
        id: A key, or an id of a store.
    """
    return _SUFFIX.sub("", emobox_key(name, id).removeprefix(f"{name}-")).replace("_", "-")
