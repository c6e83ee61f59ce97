"""IEMOCAP: five sessions of two actors each, improvised and scripted dialogues (Busso et al. 2008).

Labels, valence, activation and dominance come from `Session*/dialog/EmoEvaluation/*.txt`, texts from
`Session*/dialog/transcriptions/*.txt`, audio from `Session*/sentences/wav/<dialogue>/<id>.wav`; a root without any such
folder is a text-only corpus.

An id such as `Ses01F_impro01_M003` has two letters for sex: the first says who wore the motion-capture markers in this
recording, the last one who talks. The talker is the session and the last letter.
"""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.datasets.base import Corpus, ReaderOptions, settled, text_lines
from emofuse.manifests.schema import Excluded, Manifest, Utterance

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_TURN = re.compile(
    rf"\[{_NUMBER}\s*-\s*{_NUMBER}\]\s+(Ses\d\d[FM]_\w+_[FM]\d+)\s+(\w+)\s+\[{_NUMBER},\s*{_NUMBER},\s*{_NUMBER}\]"
)
# `Ses01F_impro01_MXX0` (breathing, overlap) and `M: [BREATHING]` have no turn number, and no label anywhere.
_SPOKEN = re.compile(r"(Ses\d\d[FM]_\w+_[FM]\d+)\s*(?:\[[^\]]*\])?\s*:\s*(.*)")


def sessions(root: Path) -> list[Path]:
    """The session folders, in order, directly in the root or in `IEMOCAP_full_release`."""
    for base in (root, root / "IEMOCAP_full_release"):
        found = [
            p for n in range(1, 6) if (p := base / f"Session{n}").is_dir() and (p / "dialog/EmoEvaluation").is_dir()
        ]
        if found:
            return found
    return []


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every labelled turn, by session, dialogue and time; turns without an agreed label are excluded."""
    utterances: list[Utterance] = []
    excluded: list[Excluded] = []
    folders = sessions(root)
    spoken = any((folder / "sentences/wav").is_dir() for folder in folders)
    for folder in folders:
        texts = _texts(folder / "dialog/transcriptions")
        labelled = set()
        for path in _files(folder / "dialog/EmoEvaluation"):
            turns = sorted((m.groups() for line in text_lines(path) if (m := _TURN.match(line))), key=_when)
            for turn, (begin, end, key, label, valence, activation, dominance) in enumerate(turns):
                labelled.add(key)
                if label == "xxx":
                    excluded.append(Excluded(id=key, reason="no label: the raters did not agree (xxx)"))
                    continue
                dialogue = key.rsplit("_", 1)[0]
                audio = folder / "sentences/wav" / dialogue / f"{key}.wav"
                extra: dict[str, str | float] = {
                    "valence": float(valence),
                    "arousal": float(activation),
                    "dominance": float(dominance),
                    "scenario": "improvised" if "impro" in key else "scripted",
                    "dialogue_begin": float(begin),
                    "dialogue_end": float(end),
                }
                utterances.append(
                    Utterance(
                        id=key,
                        audio=audio.relative_to(root).as_posix() if spoken else None,
                        text=texts.get(key),
                        label=label,
                        speaker=key[:5] + key.rsplit("_", 1)[1][0],
                        session=folder.name.removeprefix("Session"),
                        dialogue=dialogue,
                        turn=turn,
                        extra=extra,
                    )
                )
        excluded += [Excluded(id=k, reason="no label: not in EmoEvaluation") for k in texts if k not in labelled]
    return settled("iemocap", "iemocap-1", root, utterances, excluded)


def _when(turn: tuple[str, ...]) -> tuple[float, str]:
    return float(turn[0]), turn[2]


def _files(folder: Path) -> list[Path]:
    """The annotation files; the release's archive also holds `._*` files of macOS."""
    return sorted(p for p in folder.glob("*.txt") if not p.name.startswith("._"))


def _texts(folder: Path) -> dict[str, str]:
    spoken = (m.groups() for path in _files(folder) for line in text_lines(path) if (m := _SPOKEN.match(line)))
    return {key: text.strip() for key, text in spoken}


IEMOCAP = Corpus(
    name="iemocap",
    description="IEMOCAP: 10 actors in 5 sessions, English, audio and transcripts",
    page="https://sail.usc.edu/iemocap/iemocap_release.htm",
    layout="Session1 ... Session5, each with dialog/EmoEvaluation",
    looks_like=lambda root: bool(sessions(root)),
    read=read,
    groups=("1", "2", "3", "4", "5"),
)
