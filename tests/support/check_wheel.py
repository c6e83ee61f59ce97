#!/usr/bin/env python3
"""Builds sdist and wheel, installs both bare into empty environments and proves what the project promises.

Run by `make check`, not by pytest: it makes environments of its own.
1. The wheel, built from the sdist, holds every module of the tree and installs no top-level `datasets`, `extract` or
   `train`. Twine accepts the description of both.
2. `fit` works from a store alone where transformers, torchaudio, soundfile and av are absent.
3. Beside the real Hugging Face `datasets`, `import datasets` finds that one, inside the checkout and outside it.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("common", "manifests", "datasets", "store", "extract", "train", "predict", "report")
ABSENT = ("transformers", "torchaudio", "soundfile", "av", "matplotlib", "datasets")

MAKE_STORE = """
import importlib.util, sys
import numpy as np
from pathlib import Path
from emofuse.manifests.schema import Manifest, Utterance
from emofuse.store import FeatureData, write_store
present = [m for m in sys.argv[1:] if importlib.util.find_spec(m)]
assert not present, f"the bare environment has {present}"
rng = np.random.default_rng(0)
utterances = tuple(
    Utterance(id=f"u{i}", audio=f"u{i}.wav", text="x", label=("angry", "happy", "sad", "calm")[i % 4],
              speaker=f"s{i // 4 % 4}", session=str(i // 4 % 4 + 1), dialogue=str(i)) for i in range(96))
frames = lambda i: rng.standard_normal((int(rng.integers(3, 9)), 8)) + 2 * np.eye(8)[i % 4]
m = Manifest(corpus="synthetic", reader="test-1", utterances=utterances)
write_store(Path("tiny.h5"), m, {
    "logmel": FeatureData(modality="audio", arrays={u.id: frames(i) for i, u in enumerate(utterances)}),
    "hashed": FeatureData(modality="text", arrays={u.id: frames(i) for i, u in enumerate(utterances)})})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--constraints", type=Path)
    parser.add_argument("--torch-index")
    parser.add_argument("--keep", type=Path, help="Copy the checked files to this folder.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        check(Path(folder), options.constraints.resolve() if options.constraints else None, options.torch_index)
        if options.keep:
            options.keep.mkdir(parents=True, exist_ok=True)
            for file in distributions(Path(folder)):
                shutil.copy(file, options.keep)


def check(folder: Path, constraints: Path | None, torch_index: str | None) -> None:
    run(sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT))  # the sdist, then the wheel from it
    sdist, wheel = distributions(folder)
    run(sys.executable, "-m", "twine", "check", "--strict", str(sdist), str(wheel))
    check_contents(wheel)
    check_sdist(sdist, folder / "sdist-env")
    run(sys.executable, "-m", "venv", str(folder / "env"))
    python = str(folder / "env" / "bin" / "python")
    pip = [
        python,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-compile",  # torch alone has thousands of modules, most of which are never imported here
        "--disable-pip-version-check",
        *(["-c", str(constraints)] if constraints else []),
    ]
    run(*pip, *(["--index-url", torch_index] if torch_index else []), "torch")
    run(*pip, str(wheel))
    run(python, "-c", MAKE_STORE, *ABSENT, cwd=folder)
    fit = str(folder / "env" / "bin" / "fit")
    run(fit, "--store", "tiny.h5", "--model", "smcn", "--text", "hashed", "--steps", "30", "--set", "lr=0.003",
        "--allow-missing", "2000", "--out", "run", cwd=folder)  # fmt: skip
    metrics = json.loads((folder / "run" / "metrics.json").read_text())
    run(str(folder / "env" / "bin" / "emofuse"), "reproduce", "smcn-table1", "--store", "tiny.h5", "--steps", "5",
        "--substitute", "iemocap4=synthetic4,bert=hashed", "--allow-missing", "2000", cwd=folder)  # fmt: skip
    print("fit ran from the bare wheel:", {k: v for k, v in metrics.items() if k in ("mean", "std")})
    run(*pip, "datasets")
    find = "import datasets; print(datasets.__file__); assert hasattr(datasets, 'load_dataset')"
    for place in (ROOT, folder):
        run(python, "-c", find, cwd=place)
    print("wheel: all as promised")


def distributions(folder: Path) -> tuple[Path, Path]:
    """The sdist and the wheel in a folder."""
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def check_sdist(sdist: Path, environment: Path) -> None:
    """pip installs the sdist by itself, with the commands; what they need is the wheel's and is checked there."""
    run(sys.executable, "-m", "venv", str(environment))
    pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    run(*pip, "--no-deps", str(sdist))
    run(*pip, "click")
    run(str(environment / "bin" / "emofuse"), "--version", cwd=environment)


def check_contents(wheel: Path) -> None:
    """The wheel holds the tree's modules under `emofuse/`, and nothing at the top level beside it."""
    names = set(zipfile.ZipFile(wheel).namelist())
    tree = {
        f"emofuse/{path.relative_to(ROOT).as_posix()}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".toml", ".html", ".md")
        and "__pycache__" not in path.parts
        and path.name != "README.md"
    }
    missing, top = (
        sorted(tree - names),
        {name.split("/")[0] for name in names if not name.split("/")[0].endswith(".dist-info")},
    )
    assert not missing, f"the wheel lacks {missing}: list their folders in pyproject.toml"
    assert top == {"emofuse"}, f"the wheel installs {top} at the top level"


def run(*command: str, cwd: Path | None = None) -> None:
    environment = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")
    }
    subprocess.run(command, check=True, cwd=cwd, env=environment)


if __name__ == "__main__":
    main()
