"""MSP-IMPROV: six sessions of two actors, twenty sentences in four emotions each (Busso et al. 2017).

A clip is `session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav`: sentence and intended emotion (S01A), speaker (F01: the
woman of session 1), kind of recording, number. Labels and ratings come from `Evalution.txt`, as the release spells
it. Texts come from the folder of human transcriptions, if it is there. The label X means that the raters did not agree:
such clips stay, since their votes and scores are known.

Arousal, valence, dominance and naturalness are means on scales from 1 to 5.
"""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.common.errors import UsageError
from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest, clips_by_id, relative_path
from emofuse.datasets.reading.msp_ratings import RatedClip, rated_clips
from emofuse.datasets.reading.tables import text_lines
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Excluded, Manifest, Utterance
from emofuse.manifests.votes import VOTES, votes_text

ANNOTATIONS = ("Evalution.txt", "Evaluation.txt")
KINDS = {"P": "natural", "R": "target-read", "S": "other-improvised", "T": "target-improvised"}
"""The kind of recording: between the scenes; the sentence read, improvised; the other turns of its scene."""
_NAME = re.compile(r"MSP-IMPROV-(S\d\d)([AHNS])-(([FM])0([1-6]))-([PRST])-[FM]{2}\d+")


def annotation(root: Path) -> Path | None:
    """The rating file, in the root or in a folder of it."""
    return next((found for name in ANNOTATIONS for at in ("", "*/") for found in sorted(root.glob(at + name))), None)


def clip_id(path: Path) -> str | None:
    """The name without suffix; None for a file that is not a clip of MSP-IMPROV."""
    return path.stem if _NAME.fullmatch(path.stem) else None


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every annotated clip, in the order of names; clips without annotation are excluded."""
    path = annotation(root)
    if path is None:
        raise UsageError(f"{root} has no {ANNOTATIONS[0]}, the ratings of MSP-IMPROV")
    clips, excluded = clips_by_id(root, clip_id, "MSP-IMPROV")
    texts = {p.stem: p for p in sorted(root.glob("*uman_*ranscription*/**/MSP-IMPROV-*.txt"))}
    utterances = []
    for rated in sorted(rated_clips(path), key=lambda clip: clip.name):
        match = _NAME.fullmatch(rated.name)
        if match is None:
            excluded.append(Excluded(id=rated.name, reason="not named as a clip of MSP-IMPROV"))
            continue
        found = clips.pop(rated.name, None)
        audio = relative_path(found, root) if found else _usual_place(rated.name, match)
        utterances.append(_utterance(rated, match, audio, _text(texts.get(rated.name))))
    excluded += [Excluded(id=key, reason=f"no label: not in {path.name}") for key in clips]
    return build_manifest("msp-improv", "msp-improv-1", root, utterances, excluded)


def _usual_place(name: str, match: re.Match[str]) -> str:
    return f"session{match[5]}/{match[1]}{match[2]}/{match[6]}/{name}.wav"


def _text(path: Path | None) -> str | None:
    return " ".join(" ".join(text_lines(path)).split()) or None if path else None


def _utterance(rated: RatedClip, match: re.Match[str], audio: str, text: str | None) -> Utterance:
    sentence, intended, speaker, gender, session, kind = match.groups()
    return Utterance(
        id=rated.name,
        audio=audio,
        text=text,
        label=rated.label,
        speaker=speaker,
        session=session,
        dialogue=f"{session}-{sentence}{intended}-{kind}",
        extra={
            "scenario": KINDS[kind],
            "sentence": sentence,
            "intended": intended,
            "gender": gender,
            **rated.scores,
            **({VOTES: votes_text(rated.votes)} if rated.votes else {}),
        },
    )


MSP_IMPROV = Corpus(
    name="msp-improv",
    description="MSP-IMPROV: 12 actors in 6 sessions, English, sentences read and improvised",
    page="https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html",
    layout="Evalution.txt and session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav ..., also inside Audio",
    language="en",
    size=Size(utterances=8438, hours=9, speakers=12, emotions=4),
    licence=LICENCES["msp-improv"],
    looks_like=lambda root: annotation(root) is not None,
    read=read,
    groups=("1", "2", "3", "4", "5", "6"),
)
