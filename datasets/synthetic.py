"""The synthetic corpus: generated speech-like audio and template sentences, with known best scores.

An utterance has four independent hidden variables:

    arousal  high or low, 1/2 each    in the audio: pitch, level, tempo, spectrum
    wording  good or bad, 1/2 each    in the text: the words of the sentence
    irony    yes with share q = 1/4   in the audio: a drawn-out, nasal ending that dips and rises; inverts the wording
    vague    yes with share e = 1/20  in neither: the label is uniform over all four classes

The polarity is the wording, inverted by irony. The class is angry (high, bad), happy (high, good), sad (low, bad) or
calm (low, good). The best accuracy s on the clear utterances gives the best score s(1 - e) + e/4, since a vague label
is guessed one time in four; the classes are balanced, so this is both WA and UA:

    audio     arousal and irony, but irony without the wording does not determine polarity       s = 1/2      0.4875
    text      the wording, which is the polarity in 1 - q of all cases, and no arousal           s = (1-q)/2  0.36875
    both      arousal, and the wording inverted by irony                                         s = 1        0.9625
    additive  a sum of one score from the audio and one from the text cannot express an inversion (exclusive or):
              of the four cases wording x irony it misses one, at best a rare one of share q/2   s = 1-q/2    0.84375

These shares hold exactly, not only on average, in a corpus of 640 utterances or a multiple of it.
"""

from __future__ import annotations

import csv
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.datasets.base import Corpus, ReaderOptions, Size, build_manifest
from emofuse.datasets.reading.synthetic_voice import SAMPLE_RATE, Delivery, speak
from emofuse.datasets.reading.tables import read_table
from emofuse.manifests.licences import LICENCES
from emofuse.manifests.schema import Manifest, Utterance

UTTERANCES = 1920
IRONIC, VAGUE = 1 / 4, 1 / 20
CLASSES = {("high", "bad"): "angry", ("high", "good"): "happy", ("low", "bad"): "sad", ("low", "good"): "calm"}
SPEAKERS = ("s1a", "s1b", "s2a", "s2b", "s3a", "s3b", "s4a", "s4b")
ANNOTATION = "synthetic.csv"
COLUMNS = (
    "id",
    "audio",
    "text",
    "label",
    "speaker",
    "session",
    "dialogue",
    "turn",
    "arousal",
    "wording",
    "irony",
    "vague",
)
TURNS = 16
"""Turns of a dialogue; its two speakers alternate."""

_TEMPLATES = (
    "the {thing} was {word}",
    "that {thing} of yours is {word}",
    "well your {thing} looks {word}",
    "i think the {thing} is {word} today",
    "so this {thing} turned out {word}",
    "what a {word} {thing}",
    "everybody says the {thing} is {word}",
    "you told me the {thing} would be {word}",
)
# fmt: off
_THINGS = (
    "dinner", "letter", "house", "party", "garden", "movie", "weather", "journey", "present", "meeting", "music",
    "story",
)
# fmt: on
_WORDS = {
    "good": ("wonderful", "lovely", "perfect", "brilliant", "delightful", "splendid", "superb", "charming"),
    "bad": ("terrible", "awful", "dreadful", "horrible", "useless", "miserable", "dismal", "hopeless"),
}


def best_scores() -> dict[str, float]:
    """The best possible UA (and WA) of audio alone, text alone, and both."""
    return {"audio": _score(1 / 2), "text": _score((1 - IRONIC) / 2), "both": _score(1.0)}


def _score(clear: float) -> float:
    """The best score, from the best accuracy on the clear utterances."""
    return clear * (1 - VAGUE) + VAGUE / len(CLASSES)


def design(seed: int = 0, utterances: int = UTTERANCES) -> list[dict[str, str]]:
    """The rows of the annotation, in the order of sessions, dialogues and turns.

    Raises:
        UsageError: Fewer than 1 utterance.
    """
    if utterances < 1:
        raise UsageError(f"a synthetic corpus of {utterances} utterances cannot be made; expected 1 or more")
    rows = []
    for index, speaker in enumerate(SPEAKERS):
        count = len(range(index, utterances, len(SPEAKERS)))
        rng = np.random.default_rng((seed, index))
        for turn, j in enumerate(rng.permutation(count)):
            hidden = _hidden(index, int(j))
            word = str(rng.choice(_WORDS[hidden["wording"]]))
            text = str(rng.choice(_TEMPLATES)).format(thing=rng.choice(_THINGS), word=word)
            place = 2 * turn + index % 2
            dialogue = f"s{speaker[1]}_d{place // TURNS + 1:02d}"
            key = f"{dialogue}_t{place % TURNS:02d}"
            rows.append(
                {
                    "id": key,
                    "audio": f"wav/{key}.wav",
                    "text": text,
                    "speaker": speaker,
                    "session": speaker[1],
                    "dialogue": dialogue,
                    "turn": str(place % TURNS),
                    **hidden,
                }
            )
    return sorted(rows, key=lambda row: row["id"])


def _hidden(speaker: int, j: int) -> dict[str, str]:
    """The hidden variables and the label of a speaker's j-th utterance; shares are exact over 80 of each speaker."""
    keys = list(CLASSES)
    arousal, wording = keys[j % 4]
    block = j // 4 % 20
    ironic = block % 4 == 0
    # for a quarter of the speakers, vague utterances are ironic ones, so that vagueness does not depend on irony
    vague = block == (0 if speaker % 4 == 0 else 1)
    polarity = wording if not ironic else {"good": "bad", "bad": "good"}[wording]
    label = keys.index((arousal, polarity))
    if vague:
        # One class keeps its label, the other three exchange theirs in a ring: for every class, arousal and polarity
        # are then each right half the time and both a quarter of the time, as in a uniform draw.
        ring = [k for k in range(4) if k != speaker % 4]
        label = ring[ring.index(label) - 1] if label in ring else label
    return {
        "arousal": arousal,
        "wording": wording,
        "irony": "yes" if ironic else "no",
        "vague": "yes" if vague else "no",
        "label": CLASSES[keys[label]],
    }


def write_synthetic(root: Path, seed: int = 0, utterances: int = UTTERANCES) -> None:
    """Write the corpus: `wav/*.wav` (16 kHz, 16 bit, mono), then `synthetic.csv`, which marks it as complete.

    Args:
        root: The folder to write to; created when it is missing.
        seed: Another seed gives another corpus of the same design.
        utterances: Their number; the expected counts of protocol synthetic4 are for 1920.
    """
    rows = design(seed, utterances)
    (root / "wav").mkdir(parents=True, exist_ok=True)
    for row, clip in zip(rows, speak([_delivery(row, seed) for row in rows]), strict=True):
        _write_wav(root / row["audio"], clip)
    partial = root / (ANNOTATION + ".part")
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    partial.replace(root / ANNOTATION)


def _delivery(row: dict[str, str], seed: int) -> Delivery:
    speaker = SPEAKERS.index(row["speaker"])
    female = row["speaker"].endswith("a")
    return Delivery(
        pitch=(190.0 if female else 110.0) * (0.94 + 0.04 * (speaker // 2)),
        tract=(1.15 if female else 1.0) * (0.97 + 0.02 * (speaker // 2)),
        high=row["arousal"] == "high",
        ironic=row["irony"] == "yes",
        noise_db=-58.0 + 2 * int(row["session"]),
        seed=(seed, *row["id"].encode()),
    )


def _write_wav(path: Path, clip: NDArray[np.int16]) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(clip.astype("<i2").tobytes())


def read(root: Path, options: ReaderOptions) -> Manifest:
    """Every row of `synthetic.csv`, in its order."""
    rows: list[dict[str, Any]] = [row for _, row in read_table(root / ANNOTATION, COLUMNS).rows]
    hidden = ("arousal", "wording", "irony", "vague")
    utterances = [
        Utterance(
            **{k: row[k] for k in ("id", "audio", "text", "label", "speaker", "session", "dialogue")},
            turn=int(row["turn"]),
            extra={k: row[k] for k in hidden},
        )
        for row in rows
    ]
    return build_manifest("synthetic", "synthetic-1", root, utterances)


SYNTHETIC = Corpus(
    name="synthetic",
    description="Synthetic speech-like audio and template sentences with known best scores, generated by emofuse",
    page="generated by `emofuse demo`",
    layout=f"{ANNOTATION} and wav/, as `emofuse demo` writes them",
    size=Size(utterances=1920, hours=0.6, speakers=8, emotions=4),
    licence=LICENCES["synthetic"],
    looks_like=lambda root: (root / ANNOTATION).is_file(),
    read=read,
)
