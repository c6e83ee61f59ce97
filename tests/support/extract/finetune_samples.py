"""A small custom corpus whose words and tones reveal the class, and `finetune` on it as a user runs it."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Any

import numpy as np
import tiny_speech_models as speech
import tiny_text_models as text
from click.testing import CliRunner, Result

from emofuse.extract.commands.extract import extract as extract_command
from emofuse.extract.commands.finetune import finetune as finetune_command

WORDS = {"ang": "train", "sad": "left", "hap": "happy"}
TOML = """\
corpus = "custom"
source = "made for the tests"
classes = ["ang", "hap", "sad"]
metrics = ["ua", "wa"]

[folds]
by = "session"
disjoint = ["session", "speaker"]
"""


def put_tone(path: Path, hertz: float, seconds: float, seed: int) -> None:
    time = np.arange(int(seconds * 16000)) / 16000
    noise = np.random.default_rng(seed).normal(0, 0.02, len(time))
    samples = 0.3 * np.sin(2 * np.pi * hertz * time) + noise
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((samples.clip(-1, 1) * 32767).astype("<i2").tobytes())


def make(folder: Path, sessions: int = 3, per_session: int = 24, audio: bool = False) -> Path:
    """`own/own.csv`, with clips beside it if asked for, `own3.toml`, and tiny RANDOM weights in `bert`."""
    rows, labels = ["id,text,label,speaker,session" + (",audio" if audio else "")], sorted(WORDS)
    for s in range(1, sessions + 1):
        for i in range(per_session):
            label = labels[i % 3]
            cells = [f"s{s}u{i:02d}", f"{WORDS[label]} {'no ' * (i % 4)}{'ab'[s % 2]}", label, f"p{s}", str(s)]
            if audio:
                put_tone(
                    folder / "own" / f"s{s}u{i:02d}.wav", 200.0 * (1 + 2 * (i % 3)), 0.3 + 0.05 * (i % 5), 100 * s + i
                )
                cells.append(f"s{s}u{i:02d}.wav")
            rows.append(",".join(cells))
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "own.csv").write_text("\n".join(rows) + "\n")
    (folder / "own3.toml").write_text(TOML)
    text.save(folder / "bert", "bert")
    if audio:
        (folder / "hubert").mkdir()
        speech.save(folder / "hubert", "hubert")
    return folder


def where(folder: Path) -> list[str]:
    """Options that name the corpus."""
    return ["--dataset", "custom", "--root", str(folder / "own"), "--manifest", str(folder / "own" / "own.csv")]


def finetune(folder: Path, *options: object, encoder: str = "bert", weights: str | None = None) -> Result:
    """Small quick steps on `own3`, unless `options` say otherwise."""
    begin = ["--encoder", encoder, "--weights", str(folder / (weights or encoder)), "--fitted-on", "none"]
    task = ["--protocol", str(folder / "own3.toml"), "--device", "cpu"]
    quick = ["--epochs", "4", "--batch", "6", "--lr", "0.003", "--head-lr", "0.03"]
    return CliRunner().invoke(finetune_command, [*where(folder), *begin, *task, *quick, *map(str, options)])


def extract(folder: Path, *options: object, encoder: str = "bert") -> Result:
    """Into `own.h5`."""
    command = [*where(folder), "--encoder", encoder, "--store", str(folder / "own.h5"), "--device", "cpu", "--quiet"]
    return CliRunner().invoke(extract_command, [*command, *map(str, options)])


def tensors(path: Path) -> dict[str, Any]:
    """A checkpoint's weights as arrays."""
    from safetensors.numpy import load_file

    return load_file(path / "model.safetensors")
