"""Checks that a refactoring changes no result: compares the same calls of two versions.

    PYTHONPATH=OLD/.dev python benchmarks/golden.py record before.json
    PYTHONPATH=NEW/.dev python benchmarks/golden.py record after.json
    python benchmarks/golden.py compare before.json after.json

`record` runs the commands in an empty folder and keeps a digest of every store and of every table of predictions, the
list of tables, and the exit code and message of invalid calls. The clock that stores record is stopped, so that
equal work gives equal bytes. `compare` exits 1 where anything but the wording of a message differs. Emo-DB's real clips
are included if they are in `../shared`.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

# A stopped clock for what stores and runs record; everything else is the command as users call it.
MAIN = """
import sys, time
gmtime = time.gmtime
time.gmtime = lambda seconds=0.0: gmtime(0.0)
from emofuse.common.umbrella import main
sys.argv[0] = "emofuse"
main()
"""
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"
MODELS = ("smcn", "mmrbn", "mcfn", "msmser", "coattention")
FIT = ("fit", "--store", "synthetic.h5", "--audio", "logmel", "--text", "hashed", "--steps", "20", "--limit", "160",
       "--allow-missing", "2000")  # fmt: skip
WRONG = (
    ("extract", "--dataset", "emodbb", "--encoder", "logmell"),
    ("extract", "--dataset", "emodb", "--root", "nowhere", "--encoder", "logmel"),
    ("extract", "--dataset", "synthetic", "--root", "corpus", "--encoder", "logmel", "--budget", "nan"),
    (
        "extract",
        "--dataset",
        "synthetic",
        "--root",
        "corpus",
        "--encoder",
        "logmel",
        "--workers",
        "2",
        "--shard",
        "1/2",
    ),
    ("extract", "--dataset", "synthetic", "--root", "corpus", "--encoder", "hashed", "--store", "corpus"),
    ("fit", "--store", "absent.h5", "--model", "smcn"),
    ("fit", "--store", "corpus/synthetic.csv", "--model", "smcn"),
    ("fit", "--store", "synthetic.h5", "--model", "smcm"),
    ("fit", "--store", "synthetic.h5", "--model", "smcn", "--text", "bert"),
    ("fit", "--store", "synthetic.h5", "--model", "smcn", "--protocol", "meld7"),
    ("fit", "--store", "synthetic.h5", "--model", "weighted-layers"),
    ("fit", "--store", "synthetic.h5", "--model", "smcn", "--text", "hashed", "--set", "lrr=1", "--folds", "9"),
    ("fit", "--store", "synthetic.h5", "--model", "smcn", "--trials", "3"),
    ("store", "verify", "corpus/synthetic.csv"),
    ("store", "show", "synthetic.h5", "nobody"),
    ("reproduce", "smcn-table9", "--store", "synthetic.h5"),
    ("models", "nothing"),
    ("manifest", "nothing"),
    ("nothing",),
)


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one command of the importable emofuse."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", MAIN, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def done(folder: Path, *arguments: str) -> str:
    """The output of a command that must succeed."""
    finished = call(folder, *arguments)
    if finished.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(arguments)} ended with {finished.returncode}:\n{finished.stderr}")
    return finished.stdout


def record(folder: Path) -> dict[str, object]:
    """Everything that is compared."""
    found: dict[str, object] = {}
    subprocess.run(
        [sys.executable, "-c", "from pathlib import Path\nfrom emofuse.datasets.synthetic import write_synthetic\n"
         "write_synthetic(Path('corpus'))"], cwd=folder, check=True,
    )  # fmt: skip
    done(folder, "extract", "--dataset", "synthetic", "--root", "corpus", "--encoder", "logmel", "--encoder", "hashed",
         "--store", "synthetic.h5")  # fmt: skip
    found["store of the demo"] = digest(folder / "synthetic.h5")
    done(folder, "store", "verify", "synthetic.h5")
    if SHARED.is_dir():
        (folder / "emodb").symlink_to(SHARED / "data" / "emodb")
        done(folder, "extract", "--dataset", "emodb", "--root", "emodb", "--encoder", "logmel", "--store", "emodb.h5")
        found["store of Emo-DB"] = digest(folder / "emodb.h5")
    for model in MODELS:
        done(folder, *FIT, "--model", model, "--threads", "1", "--jobs", "1", "--out", model, "--folds", "1")
        found[f"predictions of {model}"] = digest(folder / model / "predictions.csv")
        found[f"weights of {model}"] = digest(folder / model / "fold_1" / "model.safetensors")
    found["tables"] = done(folder, "reproduce", "--list")
    for arguments in WRONG:
        finished = call(folder, *arguments)
        found[f"wrong: {' '.join(arguments)}"] = [finished.returncode, finished.stderr]
    return found


def compare(before: dict[str, object], after: dict[str, object]) -> int:
    """Print the differences; return 1 if more than the wording of messages differs."""
    differing = 0
    for name in sorted({*before, *after}):
        old, new = before.get(name), after.get(name)
        if name.startswith("wrong: ") and isinstance(old, list) and isinstance(new, list):
            differing += old[0] != new[0]
            state = f"exit code {old[0]} and {new[0]}" if old[0] != new[0] else f"exit code {old[0]}"
            print(f"{name[7:]}: {state}" + ("" if old[1] == new[1] else f"\n  before: {old[1]}\n  after:  {new[1]}"))
        else:
            differing += old != new
            print(f"{name}: {'equal' if old == new else 'DIFFERENT'}")
    print(f"{differing} differences other than wording")
    return min(differing, 1)


def main() -> None:
    """`record FILE` or `compare BEFORE AFTER`."""
    verb, *files = sys.argv[1:]
    if verb == "record":
        with tempfile.TemporaryDirectory() as folder:
            Path(files[0]).write_text(json.dumps(record(Path(folder)), indent=2), encoding="utf-8")
    else:
        sys.exit(compare(*(json.loads(Path(file).read_text(encoding="utf-8")) for file in files)))


if __name__ == "__main__":
    main()
