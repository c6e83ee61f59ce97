"""The synthetic corpus: speech-like audio and template sentences that emofuse makes itself, with known best scores.

An utterance has four hidden variables, drawn independently of each other:

    arousal  high or low, evenly      heard: pitch, level, tempo, spectrum
    wording  good or bad, evenly      read: the words of the sentence
    irony    with share q = 1/4       heard: a drawn-out, nasal ending that dips and rises; it turns the wording round
    vague    with share e = 1/20      seen nowhere: the label is then drawn evenly from all four classes

Its polarity is the wording, turned round by irony, and its class: angry (high, bad), happy (high, good), sad (low,
bad), calm (low, good). The best accuracy s on the clear utterances gives the best score s(1 - e) + e/4, since a vague
label is hit one time in four; classes are even, so this is WA and UA alike:

    audio     hears arousal and irony, but irony without the wording says nothing of polarity    s = 1/2      0.4875
    text      reads the wording, right in 1 - q of all cases, and knows no arousal               s = (1-q)/2  0.36875
    both      arousal, and the wording turned round where irony is heard                         s = 1        0.9625
    additive  a sum of one score from the audio and one from the text cannot express "turned round" (exclusive or):
              of the four cases wording x irony it misses one, at best a rare one of share q/2   s = 1-q/2    0.84375

The shares hold exactly, not only on average, in a corpus of 640 utterances or a multiple of it.
"""

from __future__ import annotations

import csv
import wave
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emofuse.common.errors import UsageError
from emofuse.datasets._voice import SAMPLE_RATE, Delivery, speak
from emofuse.datasets.base import Corpus, ReaderOptions, csv_rows, settled
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
"""Turns of a dialogue; its two talkers alternate."""

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
    """The best possible UA (and WA) from the audio alone, the text alone, and both."""
    return {"audio": _score(1 / 2), "text": _score((1 - IRONIC) / 2), "both": _score(1.0)}


def best_additive_score() -> float:
    """The best possible UA of a fusion that adds a score from the audio and one from the text, without interaction."""
    return _score(1 - IRONIC / 2)


def _score(clear: float) -> float:
    return clear * (1 - VAGUE) + VAGUE / len(CLASSES)


def design(seed: int = 0, utterances: int = UTTERANCES) -> list[dict[str, str]]:
    """The rows of the annotation: who says what how, in the order of sessions, dialogues and turns."""
    if utterances < 1:
        raise UsageError(f"a synthetic corpus of {utterances} utterances cannot be made; ask for 1 or more")
    rows = []
    for who, speaker in enumerate(SPEAKERS):
        count = len(range(who, utterances, len(SPEAKERS)))
        rng = np.random.default_rng((seed, who))
        for turn, j in enumerate(rng.permutation(count)):
            latent = _latent(who, int(j))
            word = str(rng.choice(_WORDS[latent["wording"]]))
            text = str(rng.choice(_TEMPLATES)).format(thing=rng.choice(_THINGS), word=word)
            place = 2 * turn + who % 2
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
                    **latent,
                }
            )
    return sorted(rows, key=lambda row: row["id"])


def _latent(who: int, j: int) -> dict[str, str]:
    """The hidden variables and the label of a speaker's j-th utterance; shares are exact over 80 of each speaker."""
    keys = list(CLASSES)
    arousal, wording = keys[j % 4]
    block = j // 4 % 20
    ironic = block % 4 == 0
    # a quarter of the speakers are vague where they are ironic, so that vagueness does not depend on irony
    vague = block == (0 if who % 4 == 0 else 1)
    polarity = wording if not ironic else {"good": "bad", "bad": "good"}[wording]
    label = keys.index((arousal, polarity))
    if vague:
        # One class keeps its label, the other three pass theirs on in a ring: whatever the class, arousal and polarity
        # are then each hit half the time and both a quarter of the time, as by an even draw.
        ring = [k for k in range(4) if k != who % 4]
        label = ring[ring.index(label) - 1] if label in ring else label
    return {
        "arousal": arousal,
        "wording": wording,
        "irony": "yes" if ironic else "no",
        "vague": "yes" if vague else "no",
        "label": CLASSES[keys[label]],
    }


def write_synthetic(root: Path, seed: int = 0, utterances: int = UTTERANCES) -> None:
    """Write the corpus: `wav/*.wav` (16 kHz, 16 bit, mono), then `synthetic.csv`, which makes it complete.

    Args:
        root: The folder to write to; it is made where it is absent.
        seed: Another seed is another corpus of the same design.
        utterances: The expected counts of protocol synthetic4 hold for 1920.
    """
    rows = design(seed, utterances)
    (root / "wav").mkdir(parents=True, exist_ok=True)
    for row, clip in zip(rows, speak([_delivery(row, seed) for row in rows]), strict=True):
        _write_wav(root / row["audio"], clip)
    part = root / (ANNOTATION + ".part")
    with part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    part.replace(root / ANNOTATION)


def _delivery(row: dict[str, str], seed: int) -> Delivery:
    who = SPEAKERS.index(row["speaker"])
    woman = row["speaker"].endswith("a")
    return Delivery(
        pitch=(190.0 if woman else 110.0) * (0.94 + 0.04 * (who // 2)),
        tract=(1.15 if woman else 1.0) * (0.97 + 0.02 * (who // 2)),
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
    fields: list[dict[str, Any]] = [row for _, row in csv_rows(root / ANNOTATION, COLUMNS)]
    hidden = ("arousal", "wording", "irony", "vague")
    utterances = [
        Utterance(
            **{k: row[k] for k in ("id", "audio", "text", "label", "speaker", "session", "dialogue")},
            turn=int(row["turn"]),
            extra={k: row[k] for k in hidden},
        )
        for row in fields
    ]
    return settled("synthetic", "synthetic-1", root, utterances)


SYNTHETIC = Corpus(
    name="synthetic",
    description="Synthetic speech-like audio and template sentences with known best scores, made by emofuse",
    page="made on the spot by `emofuse demo`",
    layout=f"{ANNOTATION} and wav/, as `emofuse demo` writes them",
    looks_like=lambda root: (root / ANNOTATION).is_file(),
    read=read,
)
