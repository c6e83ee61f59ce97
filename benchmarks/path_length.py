"""Length of the path through the code: the files and functions that one utterance, and one fit, use.

    python benchmarks/path_length.py

Extracts log-Mel features of one clip and fits SMCN for a few steps on a small store, both in this process, and counts
every call of a function of emofuse: files, functions, changes of file, and the files whose functions are given data
(arrays, tensors or buffers of at least 1 kB). Values of earlier versions are in NOTES.md.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch

import emofuse.common

ROOT = str(Path(next(iter(emofuse.common.__path__))).parent) + "/"
DATA_BYTES = 1000


class Trace:
    """The calls of emofuse's functions."""

    def __init__(self) -> None:
        self.files: Counter[str] = Counter()
        self.functions: set[tuple[str, str]] = set()
        self.changes: Counter[str] = Counter()
        self.data: set[str] = set()

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(ROOT):
            return
        name = file.removeprefix(ROOT)
        self.files[name] += 1
        self.functions.add((name, frame.f_code.co_qualname))
        caller = frame.f_back.f_code.co_filename if frame.f_back else ""
        if caller.startswith(ROOT) and caller != file:
            self.changes[name] += 1
        if any(_bytes(value) >= DATA_BYTES for value in frame.f_locals.values()):
            self.data.add(name)

    def report(self, title: str) -> None:
        """Print the counts."""
        print(
            f"{title}: {len(self.files)} files, {len(self.functions)} functions, {sum(self.files.values())} calls, "
            f"{sum(self.changes.values())} changes of file; data passes {len(self.data)} files"
        )
        print("  most changes into:", ", ".join(f"{name} {count}" for name, count in self.changes.most_common(6)))
        print("  data passes:", ", ".join(sorted(self.data)))


def _bytes(value: Any) -> int:
    if isinstance(value, np.ndarray | memoryview):
        return value.nbytes
    if isinstance(value, torch.Tensor):
        return value.numel() * value.element_size()
    return len(value) if isinstance(value, bytes | bytearray) else 0


def traced(title: str, work: Callable[[], None]) -> None:
    """Run `work` with every call of emofuse counted, in all threads."""
    trace = Trace()
    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    trace.report(title)
    if "--files" in sys.argv:
        print("  files:", ", ".join(sorted(trace.files)))


def command(*arguments: str) -> None:
    """A command of emofuse, in this process, without output."""
    from emofuse.common.umbrella import load_command

    silence = io.StringIO()
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        load_command(arguments[0]).main(args=list(arguments[1:]), prog_name=arguments[0])


def main() -> None:
    """Trace both stages."""
    from emofuse.datasets.synthetic import write_synthetic

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_synthetic(Path("corpus"))
        corpus = ("--dataset", "synthetic", "--root", "corpus", "--encoder", "logmel")
        command("extract", *corpus, "--limit", "2", "--store", "warm.h5")  # work that is done once per process
        traced("extract, one utterance", lambda: command("extract", *corpus, "--limit", "1", "--store", "one.h5"))
        command("extract", *corpus, "--encoder", "hashed", "--limit", "160", "--store", "many.h5")
        fit = ("fit", "--store", "many.h5", "--model", "smcn", "--text", "hashed", "--allow-missing", "2000")
        fit = (*fit, "--steps", "10", "--jobs", "1", "--set", "hidden=8")
        command(*fit, "--out", "warm")
        traced("fit, four folds", lambda: command(*fit, "--out", "run"))
        traced("fit, one fold", lambda: command(*fit, "--folds", "1", "--out", "one"))


if __name__ == "__main__":
    main()
