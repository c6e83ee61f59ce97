"""EMOVO: six Italian actors, fourteen sentences, six emotions and neutral (Costantini et al. 2014).

A file name is emotion, actor and sentence: `dis-f1-b1.wav`. The label is the Italian abbreviation: dis disgust
(disgusto), gio joy (gioia), pau fear (paura), rab anger (rabbia), sor surprise (sorpresa), tri sadness (tristezza),
neu neutral. Sentences are short (b), long (l), without sense (n) or questions (d).
"""

from __future__ import annotations

import re
from pathlib import Path

from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest, clips_by_id, relative_path, wav_files
from emofuse.manifests.schema import Manifest, Utterance

SENTENCES = {
    "b1": "Gli operai si alzano presto.",
    "b2": "I vigili sono muniti di pistola.",
    "b3": "La cascata fa molto rumore.",
    "l1": "L'autunno prossimo Tony partirà per la Spagna: nella prima metà di ottobre.",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
    "l3": "Un attimo dopo s'è incamminato... ed è inciampato.",
    "l4": "Vorrei il numero telefonico del Signor Piatti.",
    "n1": "La casa forte vuole col pane.",
    "n2": "La forza trova il passo e l'aglio rosso.",
    "n3": "Il gatto sta scorrendo nella pera.",
    "n4": "Insalata pastasciutta coscia d'agnello limoncello.",
    "n5": "Uno quarantatré dieci mille cinquantasette venti.",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
}
ACTORS = ("f1", "f2", "f3", "m1", "m2", "m3")
_NAME = re.compile(rf"(dis|gio|neu|pau|rab|sor|tri)-({'|'.join(ACTORS)})-({'|'.join(SENTENCES)})")


def clip_id(path: Path) -> str | None:
    """The name without suffix; None for a file that is not a clip of EMOVO."""
    return path.stem if _NAME.fullmatch(path.stem) else None


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every clip, by actor, emotion and sentence."""
    clips, excluded = clips_by_id(root, clip_id, "EMOVO")
    utterances = []
    for key, path in sorted(clips.items(), key=lambda item: (item[0].split("-")[1], item[0])):
        emotion, actor, sentence = key.split("-")
        utterances.append(
            Utterance(
                id=key,
                audio=relative_path(path, root),
                text=SENTENCES[sentence],
                label=emotion,
                speaker=actor,
                extra={"sentence": sentence, "sex": "female" if actor.startswith("f") else "male"},
            )
        )
    return build_manifest("emovo", "emovo-1", root, utterances, excluded)


EMOVO = Corpus(
    name="emovo",
    description="EMOVO: 6 Italian actors, 588 acted clips of fourteen sentences",
    page="http://voice.fub.it/activities/corpora/emovo/index.html",
    layout="f1/dis-f1-b1.wav ..., with or without the outer folder",
    language="it",
    size=Size(utterances=588, hours=0.5, speakers=6, emotions=7),
    looks_like=lambda root: any(clip_id(path) for path in wav_files(root)),
    read=read,
    groups=ACTORS,
)
