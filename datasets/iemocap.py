"""IEMOCAP: five sessions of two actors each, improvised and scripted dialogues (Busso et al. 2008).

Labels, the raters' categories (lines C-E1, C-E2, ...; a rater may choose several, each of which is a vote), valence,
activation and dominance come from `Session*/dialog/EmoEvaluation/*.txt`, texts from
`Session*/dialog/transcriptions/*.txt`, audio from `Session*/sentences/wav/<dialogue>/<id>.wav`; a root without these
folders is a text-only corpus.

An id such as `Ses01F_impro01_M003` has two letters for sex: the first one is of the actor with motion-capture markers
in this recording, the last one of the speaker. The speaker is the session and the last letter.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest, relative_path
from emofuse.datasets.reading.tables import text_lines
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Excluded, Manifest, Utterance
from emofuse.manifests.votes import VOTES, votes_text

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_TURN = re.compile(
    rf"\[{_NUMBER}\s*-\s*{_NUMBER}\]\s+(Ses\d\d[FM]_\w+_[FM]\d+)\s+(\w+)\s+\[{_NUMBER},\s*{_NUMBER},\s*{_NUMBER}\]"
)
# `C-E2: Neutral; Anger; (comment)`, below its turn.
_VOTE = re.compile(r"C-E\d+:\s*([^(]*)")
CATEGORIES = {
    "anger": "ang",
    "happiness": "hap",
    "sadness": "sad",
    "neutral": "neu",
    "frustration": "fru",
    "excited": "exc",
    "fear": "fea",
    "surprise": "sur",
    "disgust": "dis",
    "other": "oth",
}
"""The raters' categories, in lower case -> the release's label."""
# `Ses01F_impro01_MXX0` (breathing, overlap) and `M: [BREATHING]` have neither a turn number nor a label.
_TRANSCRIPT = re.compile(r"(Ses\d\d[FM]_\w+_[FM]\d+)\s*(?:\[[^\]]*\])?\s*:\s*(.*)")


def sessions(root: Path) -> list[Path]:
    """The session folders, in order, directly in the root or in `IEMOCAP_full_release`."""
    for base in (root, root / "IEMOCAP_full_release"):
        folders = [
            p for n in range(1, 6) if (p := base / f"Session{n}").is_dir() and (p / "dialog/EmoEvaluation").is_dir()
        ]
        if folders:
            return folders
    return []


class _Turn(NamedTuple):
    """One line of EmoEvaluation, as text."""

    begin: str
    end: str
    id: str
    label: str
    valence: str
    activation: str
    dominance: str
    votes: tuple[str, ...] = ()
    """The labels that the raters chose, without those of the actors themselves."""


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every rated turn, by session, dialogue and time; those without an agreed label have the label `xxx`."""
    utterances: list[Utterance] = []
    excluded: list[Excluded] = []
    folders = sessions(root)
    has_audio = any((folder / "sentences/wav").is_dir() for folder in folders)
    for folder in folders:
        texts = _texts(folder / "dialog/transcriptions")
        labelled = set()
        for path in _files(folder / "dialog/EmoEvaluation"):
            for number, turn in enumerate(_turns(path)):
                labelled.add(turn.id)
                utterance = _utterance(turn, number, folder, texts.get(turn.id))
                audio = folder / "sentences/wav" / str(utterance.dialogue) / f"{turn.id}.wav"
                utterances.append(replace(utterance, audio=relative_path(audio, root)) if has_audio else utterance)
        excluded += [Excluded(id=k, reason="no label: not in EmoEvaluation") for k in texts if k not in labelled]
    return build_manifest("iemocap", "iemocap-2", root, utterances, excluded)


def _turns(path: Path) -> list[_Turn]:
    """The turns of a dialogue in the order of time."""
    turns: list[_Turn] = []
    for line in text_lines(path):
        if match := _TURN.match(line):
            begin, end, id, label, valence, activation, dominance = match.groups()
            turns.append(_Turn(begin, end, id, label, valence, activation, dominance))
        elif turns and (match := _VOTE.match(line)):
            turns[-1] = turns[-1]._replace(votes=(*turns[-1].votes, *_chosen(match[1])))
    return sorted(turns, key=lambda turn: (float(turn.begin), turn.id))


def _chosen(text: str) -> list[str]:
    """The labels of the categories that one rater chose, such as `Neutral; Anger;`."""
    names = (name.strip().casefold().partition(" ")[0] for name in text.split(";"))
    return [CATEGORIES.get(name, "oth") for name in names if name]


def _utterance(turn: _Turn, number: int, folder: Path, text: str | None) -> Utterance:
    """A turn without its audio; `folder` is that of its session."""
    dialogue, speaker_turn = turn.id.rsplit("_", 1)
    return Utterance(
        id=turn.id,
        text=text,
        label=turn.label,
        speaker=turn.id[:5] + speaker_turn[0],
        session=folder.name.removeprefix("Session"),
        dialogue=dialogue,
        turn=number,
        extra={
            "valence": float(turn.valence),
            "arousal": float(turn.activation),
            "dominance": float(turn.dominance),
            "scenario": "improvised" if "impro" in turn.id else "scripted",
            "dialogue_begin": float(turn.begin),
            "dialogue_end": float(turn.end),
            **({VOTES: votes_text(turn.votes)} if turn.votes else {}),
        },
    )


def _files(folder: Path) -> list[Path]:
    """The annotation files; the archive of the release also contains `._*` files of macOS."""
    return sorted(p for p in folder.glob("*.txt") if not p.name.startswith("._"))


def _texts(folder: Path) -> dict[str, str]:
    matches = (m.groups() for path in _files(folder) for line in text_lines(path) if (m := _TRANSCRIPT.match(line)))
    return {key: text.strip() for key, text in matches}


IEMOCAP = Corpus(
    name="iemocap",
    description="IEMOCAP: 10 actors in 5 sessions, English, audio and transcripts",
    page="https://sail.usc.edu/iemocap/iemocap_release.htm",
    layout="Session1 ... Session5, each with dialog/EmoEvaluation",
    language="en",
    size=Size(utterances=10039, hours=12, speakers=10, emotions=9),
    licence=LICENCES["iemocap"],
    looks_like=lambda root: bool(sessions(root)),
    read=read,
    groups=("1", "2", "3", "4", "5"),
)
