"""The gender of speakers, where a manifest or the documentation of a corpus states it."""

from __future__ import annotations

from emofuse.manifests.names.joint import SEPARATOR, corpus_of, own_name
from emofuse.manifests.schema import Utterance

FEMALE, MALE = "female", "male"
_SPELLINGS = {"female": FEMALE, "f": FEMALE, "woman": FEMALE, "male": MALE, "m": MALE, "man": MALE}
_EXTRA_KEYS = ("gender", "sex")
# The speakers of Emo-DB as its page lists them (http://emodb.bilderbar.info/index-1280.html).
_EMODB = {"03": MALE, "08": FEMALE, "09": FEMALE, "10": MALE, "11": MALE, "12": MALE, "13": FEMALE, "14": FEMALE}
_EMODB |= {"15": MALE, "16": FEMALE}


def gender_of(utterance: Utterance, corpus: str = "") -> str | None:
    """`female`, `male`, or the manifest's own word; None where unknown.

    A manifest's `gender` or `sex` (in `extra`) comes first. Else the corpus decides: in IEMOCAP the last letter of the
    speaker, in RAVDESS odd actors are male (Livingstone and Russo 2018), Emo-DB lists its speakers, and the speakers of
    SAVEE are male (Haq and Jackson 2010).

    Args:
        utterance: Its names carry the corpus if `corpus` is empty.
        corpus: The name of the corpus; empty in a joint task.
    """
    for key in _EXTRA_KEYS:
        if key in utterance.extra:
            word = str(utterance.extra[key]).strip()
            return _SPELLINGS.get(word.casefold(), word) or None
    speaker = utterance.speaker
    if speaker is None:
        return None
    if not corpus and SEPARATOR in speaker:
        corpus, speaker = corpus_of(speaker), own_name(speaker)
    if corpus == "iemocap":
        return {"F": FEMALE, "M": MALE}.get(speaker[-1:])
    if corpus == "ravdess" and speaker[-2:].isdecimal():
        return MALE if int(speaker[-2:]) % 2 else FEMALE
    if corpus == "savee":
        return MALE
    return _EMODB.get(speaker) if corpus == "emodb" else None
