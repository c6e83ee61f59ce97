"""Emo-DB: ten German actors, ten sentences, seven emotions (Burkhardt et al. 2005).

A file name such as `03a01Fa.wav` is speaker, sentence, emotion letter and version. The label is the letter: W anger
(Wut), L boredom (Langeweile), E disgust (Ekel), A fear (Angst), F happiness (Freude), T sadness (Trauer), N neutral.
"""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest, clips_by_id, relative_path, wav_files
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Manifest, Utterance

SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
_NAME = re.compile(rf"(\d\d)({'|'.join(SENTENCES)})([WLEAFTN])([a-z])")


def clip_id(path: Path) -> str | None:
    """`03a01Fa` for `03a01Fa.wav`; None for a file that is not a clip of Emo-DB."""
    return path.stem if _NAME.fullmatch(path.stem) else None


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every clip, by name."""
    clips, excluded = clips_by_id(root, clip_id, "Emo-DB")
    utterances = []
    for key, path in clips.items():
        speaker, sentence, letter, version = key[:2], key[2:5], key[5], key[6]
        utterances.append(
            Utterance(
                id=key,
                audio=relative_path(path, root),
                text=SENTENCES[sentence],
                label=letter,
                speaker=speaker,
                extra={"sentence": sentence, "version": version},
            )
        )
    return build_manifest("emodb", "emodb-1", root, utterances, excluded)


EMODB = Corpus(
    name="emodb",
    description="Emo-DB: 10 German actors, 535 acted clips of ten sentences",
    page="http://emodb.bilderbar.info",
    layout="wav/03a01Fa.wav ... or 03a01Fa.wav ...",
    language="de",
    size=Size(utterances=535, hours=0.4, speakers=10, emotions=7),
    licence=LICENCES["emodb"],
    looks_like=lambda root: any(clip_id(path) for path in wav_files(root)),
    read=read,
)
