"""A corpus: folders of wav files, `SPEAKER/LABEL_NUMBER.wav`, such as `anna/high_03.wav`."""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.datasets.base import Corpus, ReaderOptions, build_manifest, relative_path, wav_files
from emofuse.manifests.schema import Excluded, Manifest, Utterance

NAME = re.compile(r"(?P<label>low|high)_(?P<number>\d+)")


def read(root: Path, options: ReaderOptions) -> Manifest:
    """One utterance per clip, in a fixed order. No audio is decoded here; emofuse scans it later.

    Whatever is left out is listed with its reason. `build_manifest` excludes missing files and refuses a corpus
    without utterances.
    """
    utterances, excluded = [], []
    for path in wav_files(root):
        found = NAME.fullmatch(path.stem)
        if found is None:
            excluded.append(Excluded(id=relative_path(path, root), reason="not named LABEL_NUMBER.wav"))
            continue
        speaker = path.parent.name
        utterances.append(
            Utterance(
                id=f"{speaker}_{path.stem}",  # unique in the corpus
                audio=relative_path(path, root),
                label=found["label"],  # the corpus's own word; a protocol maps it to a class
                speaker=speaker,  # what folds must keep apart
            )
        )
    # The second name is the reader's version: raise it whenever the same folder gives another manifest.
    return build_manifest("tones", "tones-1", root, utterances, excluded)


TONES = Corpus(
    name="tones",
    description="low and high tones, an example",
    page="docs/examples",
    layout="SPEAKER/low_01.wav, SPEAKER/high_01.wav ...",
    looks_like=lambda root: any(NAME.fullmatch(path.stem) for path in wav_files(root)),
    read=read,
)

PROTOCOL = Path(__file__).with_name("tones2.toml")
"""The task, registered as `tones2`: classes, folds and metrics."""
