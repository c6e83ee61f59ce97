"""The word error rate of `extract --transcribe` where the true texts are known.

    pip install jiwer
    PYTHONPATH=.dev python benchmarks/recognition.py emodb --root EMODB --weights WHISPER --language de
    PYTHONPATH=.dev python benchmarks/recognition.py espeak --root MELD --weights WHISPER --language en

A corpus is read without its texts, recognised, and compared with them. `espeak` first speaks sentences of MELD's test
split with espeak-ng, a synthetic voice that this program must find installed. Case, punctuation and hyphens are not
compared.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import tempfile
import time
from pathlib import Path

import jiwer

from emofuse.datasets.registry import read_corpus
from emofuse.extract import extract

VOICE, WORDS_PER_MINUTE = "en-us", 150
LEAST_WORDS, MOST_WORDS = 6, 20
"""Of a spoken sentence: shorter ones of MELD are mostly exclamations."""


def speak(root: Path, folder: Path, count: int) -> dict[str, str]:
    """Speak evenly spaced sentences of MELD's test split into wav files; gives id -> text."""
    manifest, _ = read_corpus("meld", root)
    plain = [
        u
        for u in manifest.utterances
        if u.split == "test" and u.text and u.text.isascii() and LEAST_WORDS <= len(u.text.split()) <= MOST_WORDS
    ]
    texts = {u.id: str(u.text) for u in plain[:: max(1, len(plain) // count)][:count]}
    for key, text in texts.items():
        out = folder / f"{key}.wav"
        subprocess.run(["espeak-ng", "-v", VOICE, "-s", str(WORDS_PER_MINUTE), "-w", out, "--", text], check=True)
    return texts


def recognise(root: Path, audio: dict[str, str], weights: str, language: str) -> tuple[dict[str, str], float, float]:
    """The recognised text by id, the seconds that it took, and the seconds of audio."""
    with tempfile.TemporaryDirectory() as work:
        listed = Path(work) / "manifest.csv"
        listed.write_text("id,audio\n" + "".join(f"{key},{path}\n" for key, path in audio.items()), encoding="utf-8")
        started = time.monotonic()
        store = extract(
            dataset="custom",
            root=root,
            manifest=listed,
            encoders=["hashed"],
            transcribe=weights,
            language=language,
            store=Path(work) / "store.h5",
        )
        taken = time.monotonic() - started
        found = {u.id: u.text or "" for u in store.manifest.utterances}
        return found, taken, 3600 * store.manifest.hours


def plain(text: str) -> str:
    """Lower case, words separated by single blanks."""
    return " ".join(re.sub(r"[^\w' ]", " ", text.casefold().replace("’", "'")).split())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", help="espeak, or a corpus whose texts are known, such as emodb")
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--language", required=True)
    parser.add_argument("--sentences", type=int, default=100, help="that espeak speaks")
    parser.add_argument("--out", type=Path, help="a CSV of both texts of each clip")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as spoken:
        if given.corpus == "espeak":
            root = Path(spoken)
            texts = speak(given.root, root, given.sentences)
            audio = {key: f"{key}.wav" for key in texts}
        else:
            manifest, root = read_corpus(given.corpus, given.root)
            known = [u for u in manifest.utterances if u.text and u.audio]
            texts, audio = {u.id: str(u.text) for u in known}, {u.id: str(u.audio) for u in known}
        recognised, taken, seconds = recognise(root, audio, given.weights, given.language)
    pairs = [(key, plain(text), plain(recognised.get(key, ""))) for key, text in texts.items()]
    result = jiwer.process_words([true for _, true, _ in pairs], [found for _, _, found in pairs])
    words = result.hits + result.substitutions + result.deletions
    print(
        f"{given.corpus}, {given.language}: word error rate {result.wer:.1%} of {words} words "
        f"({result.substitutions} substituted, {result.deletions} deleted, {result.insertions} inserted); "
        f"{sum(true == found for _, true, found in pairs)} of {len(pairs)} clips exact, "
        f"{sum(not found for _, _, found in pairs)} without words; {seconds:.0f} s of audio in {taken:.0f} s"
    )
    if given.out:
        with given.out.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("id", "text", "recognised"), *pairs])


if __name__ == "__main__":
    main()
