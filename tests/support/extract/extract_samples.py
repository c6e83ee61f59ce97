"""A small custom corpus, and `extract` as a user runs it, for the tests of the command."""

from __future__ import annotations

import os
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest

COMMAND = [sys.executable, "-c", "from emofuse.extract.commands.extract import main; main()"]


def extract(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """In this process, or in one of its own where its environment differs."""
    if environment is None:
        return commands.run("extract", arguments, folder)
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )


def put_wav(path: Path, seconds: float, rate: int = 16000, channels: int = 1, loud: float = 0.1, seed: int = 0) -> None:
    samples = np.random.default_rng(seed).standard_normal((int(seconds * rate), channels)) * loud
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A custom corpus: eight clips and a CSV that names them."""
    rows = ["id,audio,text,label,speaker,session"]
    for i in range(8):
        put_wav(tmp_path / "own" / f"c{i}.wav", 0.4 + 0.2 * i, seed=i)
        rows.append(f"c{i},c{i}.wav,this is clip number {i},{'ang' if i % 2 else 'sad'},s{i % 3},{i % 2}")
    (tmp_path / "own" / "own.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


OWN = ("--dataset", "custom", "--root", "own", "--manifest", "own/own.csv", "--store", "own.h5")


def limit_memory(monkeypatch: pytest.MonkeyPatch, most: int, *, late: bool = False) -> list[int]:
    """Let HuBERT run on a device with memory for `most` padded samples; returns the sizes of its batches, filled later.

    Args:
        monkeypatch: Undoes it.
        most: Samples of a batch, padding included.
        late: Whether memory runs out only when the values are fetched.
    """
    from emofuse.extract.encoders import hf_audio

    sizes: list[int] = []
    begin = hf_audio.HfAudio.begin

    def small(encoder: Any, items: Any) -> Any:
        sizes.append(len(items))

        def refuse() -> Any:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 11 bytes.")

        if len(items) * max(map(len, items)) <= most:
            return begin(encoder, items)
        return refuse if late else refuse()

    monkeypatch.setattr(hf_audio.HfAudio, "begin", small)
    return sizes
