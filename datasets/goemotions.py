"""GoEmotions: Reddit comments with 27 emotions and neutral, text only, official split (Demszky et al. 2020).

`train.tsv`, `dev.tsv` and `test.tsv` hold text, comma-separated label numbers and comment id, without a header. The
label of a row with several emotions is their names joined by commas, in the order of their numbers, so that a protocol
over single emotions skips it.
"""

from __future__ import annotations

from pathlib import Path

from emofuse.common.errors import raise_problems
from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.protocol import SPLITS
from emofuse.manifests.schema import Manifest, Utterance

# fmt: off
EMOTIONS = [
    "admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
    "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy",
    "love", "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral",
]
# fmt: on


def folder(root: Path) -> Path | None:
    """The folder of the three files: the root, or `data` as in the authors' repository."""
    return next((p for p in (root, root / "data") if any((p / f"{s}.tsv").is_file() for s in SPLITS)), None)


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every row, in the files' order: train, dev, test."""
    data = folder(root) or root
    raise_problems(
        [f"no {s}.tsv" for s in SPLITS if not (data / f"{s}.tsv").is_file()], f"{data} is missing files of GoEmotions"
    )
    listed = data / "emotions.txt"
    names = dict(enumerate(listed.read_text(encoding="utf-8").split() if listed.is_file() else EMOTIONS))
    problems: list[str] = []
    utterances = []
    for split in SPLITS:
        # not splitlines(): a comment may contain other line separators
        rows = (data / f"{split}.tsv").read_bytes().decode(errors="replace").removesuffix("\n").split("\n")
        for number, row in enumerate(rows, 1):
            try:
                text, labels, key = row.rstrip("\r").split("\t")
                label = ",".join(names[n] for n in sorted(int(n) for n in labels.split(",")))
            except (ValueError, KeyError):
                problems.append(
                    f"{split}.tsv:{number} is not text, label numbers below {len(names)} and id: {row[:60]!r}"
                )
                continue
            utterances.append(Utterance(id=key, text=text.strip(), label=label, split=split))
    raise_problems(problems, f"{data} cannot be read as GoEmotions")
    return build_manifest("goemotions", "goemotions-1", root, utterances)


GOEMOTIONS = Corpus(
    name="goemotions",
    description="GoEmotions: Reddit comments in 28 classes, English, text only, official split",
    page="https://github.com/google-research/google-research/tree/master/goemotions",
    layout="train.tsv, dev.tsv, test.tsv, in the root or in data/",
    language="en",
    size=Size(utterances=54263, emotions=28),
    licence=LICENCES["goemotions"],
    looks_like=lambda root: folder(root) is not None,
    read=read,
)
