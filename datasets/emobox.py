"""Any set of EmoBox (Ma et al., Interspeech 2024): 32 corpora in 14 languages, listed in one format.

A clone of EmoBox has `data/NAME/NAME.jsonl`, one line per clip with its key, label and path, and `label_map.json`,
which gives sets one vocabulary of labels. The recordings are not in the clone: each corpus is unpacked below
`downloads/` beside `data/`, at the paths that the lines name. Each set is a corpus of its own, `emobox-NAME`.

The lines name no speakers; where a set's keys contain them, they are read from there. EmoBox's folds are used by
`[folds] file` of a protocol.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emofuse.common.errors import UsageError, raise_problems
from emofuse.datasets.base import Corpus, ReaderOptions, build_manifest
from emofuse.datasets.reading.tables import text_lines
from emofuse.manifests.names.emobox_keys import PREFIX
from emofuse.manifests.schema import Excluded, Manifest, Utterance

LABEL_MAPS = ("label_map.json", "label_dict.json")
"""EMOVO's has the second name."""
_WHOLE = r"()"
"""The pattern of a set with one speaker, who has the name of the set."""
_FIRST = r"([^-_.]+)[-_.]"
# Set -> the language, and a pattern of the speaker in the key without its prefix; None where keys have no speaker.
SETS: Mapping[str, tuple[str | None, str | None]] = {
    "aesdd": ("el", r".*-0*(\d+)[a-z]?$"),
    "ased": ("am", r".*-(\d+)$"),
    "asvpesd": (None, r"(?:\d+-){5}(\d+)-"),
    "cafe": ("fr", _FIRST),
    "casia": ("zh", r"\d+-([a-z]+)-"),
    "cremad": ("en", _FIRST),
    "emns": ("en", _WHOLE),
    "emodb": ("de", r"(\d\d)"),
    "emovdb": ("en", _FIRST),
    "emovo": ("it", r"[a-z]+-([fm]\d)-"),
    "emozionalmente": ("it", None),
    "enterface": ("en", _FIRST),
    "esd": (None, _FIRST),
    "iemocap": ("en", r"(Ses\d\d).*_([FM])\d+$"),
    "jlcorpus": ("en", _FIRST),
    "m3ed": ("zh", None),
    "mead": ("en", _FIRST),
    "meld": ("en", None),
    "mer2023": ("zh", None),
    "mesd": ("es", None),
    "msppodcast": ("en", None),
    "oreau": ("fr", r"(\d\d)"),
    "pavoque": ("de", _WHOLE),
    "polish": ("pl", _FIRST),
    "ravdess": ("en", r".*-(\d\d)$"),
    "resd": ("ru", None),
    "savee": ("en", _FIRST),
    "shemo": ("fa", r"([FM]\d\d)"),
    "subesco": ("bn", r"([FM]_\d+)_"),
    "tess": ("en", _FIRST),
    "turevdb": ("tr", r"\d+_([a-z]+)_"),
    "urdu": ("ur", r"(S[FM]\d+)_"),
}


def sets(root: Path) -> list[Path]:
    """The sets of a clone: `data/NAME/NAME.jsonl` for each."""
    return sorted(path for path in root.glob("data/*/*.jsonl") if path.stem == path.parent.name)


def read(root: Path, options: ReaderOptions) -> Manifest:
    """The lines of one set, in their order; a label that the set's map does not have is excluded.

    Raises:
        UsageError: No set or several are there and `--manifest` names none, or its files are damaged.
    """
    path = _set_file(root, options)
    labels = _label_map(path.parent)
    utterances, excluded, problems = list[Utterance](), list[Excluded](), list[str]()
    for number, line in enumerate(text_lines(path), 1):
        if line.strip():
            try:
                utterance = _utterance(path.stem, json.loads(line), labels)
            except (ValueError, KeyError, TypeError) as error:
                problems.append(f"row {number}: {error!r}; expected an object with key, wav and emo")
                continue
            if utterance.label is None:
                excluded.append(Excluded(id=utterance.id, reason=f"label {utterance.extra['emo']} is not mapped"))
            else:
                utterances.append(utterance)
    raise_problems(problems, f"{path} is damaged")
    name = name_of(root, options)
    return build_manifest(name, f"{name}-1", root, utterances, excluded)


def name_of(root: Path, options: ReaderOptions) -> str:
    """The corpus that a set is, such as `emobox-aesdd`."""
    return f"{PREFIX}{_set_file(root, options).stem}"


def _set_file(root: Path, options: ReaderOptions) -> Path:
    path = options.manifest.resolve() if options.manifest else _only_set(root)
    if path.is_dir():
        path /= f"{path.name}.jsonl"
    if not path.is_file():
        raise UsageError(f"no file {path}; expected EmoBox/data/NAME/NAME.jsonl, or its folder")
    return path


def _clone_of(path: Path) -> Path:
    """The clone that the file or folder of a set is in."""
    return (path if path.is_dir() else path.parent).resolve().parent.parent


def _only_set(root: Path) -> Path:
    found = sets(root)
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.stem for path in found)
    raise UsageError(f"{root} has the sets {names}: name one, --manifest {root}/data/NAME")


def _label_map(folder: Path) -> dict[str, str]:
    """Label -> the name that it has in all sets; lower case, as Emo-DB's map has `Neutral` and its lines `neutral`."""
    path = next((folder / name for name in LABEL_MAPS if (folder / name).is_file()), None)
    if path is None:
        raise UsageError(f"{folder} has no {LABEL_MAPS[0]}")
    try:
        exact = {str(label): str(name) for label, name in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path} is not a JSON object of labels: {error}") from None
    folded = Counter(label.casefold() for label in exact)  # ASED has `s` and `S`, as two labels
    return {label.casefold(): name for label, name in exact.items() if folded[label.casefold()] == 1} | exact


def _utterance(name: str, row: Mapping[str, Any], labels: Mapping[str, str]) -> Utterance:
    key, emotion = str(row["key"]), str(row["emo"])
    language, pattern = SETS.get(name, (None, None))
    match = re.match(pattern, key.removeprefix(f"{name}-")) if pattern else None
    extra = {"emo": emotion, **({"language": language} if language else {})}
    return Utterance(
        id=key,
        audio=str(row["wav"]),
        start=row.get("start_time"),
        end=row.get("end_time"),
        label=labels.get(emotion, labels.get(emotion.casefold())),
        speaker="".join(match.groups()) or name if match else None,
        session=key[len(name) + 4 : len(name) + 6].lstrip("0") if name == "iemocap" else None,
        extra=extra,
    )


EMOBOX = Corpus(
    name="emobox",
    description="EmoBox: any of its 32 sets, from data/NAME (--manifest), as corpus emobox-NAME",
    page="https://github.com/emo-box/EmoBox",
    layout="data/NAME/NAME.jsonl beside downloads/ (name a set by --manifest EmoBox/data/NAME)",
    looks_like=lambda root: bool(sets(root)),
    read=read,
    options=("manifest",),
    manifest_root=_clone_of,
    name_of=name_of,
)
