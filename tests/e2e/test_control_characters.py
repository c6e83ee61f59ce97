"""Text of a store, a manifest, a protocol or a run reaches a terminal without control characters."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import train_samples as samples
from commands import run

import emofuse.common
from emofuse.common.output.console import format_table, say, warn
from emofuse.manifests.jsonl import write_manifest
from emofuse.manifests.schema import Excluded, Manifest
from emofuse.store import FeatureData, write_store

PACKAGE = Path(next(iter(emofuse.common.__path__))).resolve().parent
ESC, CSI, BELL = "\x1b[31m", "\x9b5m", "\x07"
EVIL = ESC + CSI + BELL
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
PROTOCOL = f"""\
corpus = "tiny"
source = "{json.dumps(EVIL)[1:-1]} tests"
classes = ["{json.dumps("ang" + EVIL)[1:-1]}", "{json.dumps("hap" + EVIL)[1:-1]}"]
metrics = ["ua", "wa"]

[folds]
by = "session"
"""


def evil_store(path: Path) -> Path:
    """A store whose every free text has escapes; ids cannot have them."""
    utterances = tuple(
        replace(
            u,
            text=f"{u.text}{EVIL}",
            label=f"{u.label}{EVIL}",
            session=f"{u.session}{EVIL}",
            speaker=f"{u.speaker}{EVIL}",
            dialogue=f"{u.dialogue}{EVIL}",
            audio=f"{EVIL}{u.audio}",
        )
        for u in samples.utterances(8, sessions=3)
        if u.label in ("ang", "hap")
    )
    manifest = Manifest(
        corpus="tiny",
        utterances=utterances,
        excluded=(Excluded(id=f"x{EVIL}", reason=f"{EVIL}audio: none", modality="audio"),),
        reader=f"{EVIL}reader",
    )
    rng = np.random.default_rng(0)
    arrays = {u.id: rng.normal(size=(2, 3)).astype(np.float32) for u in utterances}
    provenance = {"fitted_on": [], "encoder": EVIL}
    data = FeatureData(modality="text", arrays=arrays, fingerprint={"e": EVIL}, provenance=provenance)
    write_store(path, manifest, {"words": data})
    write_manifest(manifest, path.with_suffix(".jsonl"))
    return path


def test_no_command_prints_control_characters(tmp_path: Path) -> None:
    evil_store(tmp_path / "s.h5")
    (tmp_path / "p.toml").write_text(PROTOCOL)
    name = "words"
    fit = ["--store", "s.h5", "--protocol", "p.toml", "--model", "linear", "--steps", "2", "--jobs", "1", "--no-report"]
    fine = [
        ("store", "info", "s.h5"), ("store", "info", "--json", "s.h5"), ("store", "info", "--precision", "s.h5"),
        ("store", "ls", "s.h5"), ("store", "show", "s.h5", "s1_u000"), ("store", "diff", "s.h5", "s.h5"),
        ("store", "verify", "s.h5"), ("store", "card", "s.h5"), ("store", "card", "s.h5", "--out", "card.json"),
        ("store", "copy", "s.h5", "copy.h5", "--features", name), ("store", "merge", "merged.h5", "s.h5", "copy.h5"),
        ("store", "diff", "s.h5", "merged.h5", "--values"), ("store", "add", "copy.h5", "--manifest", "s.jsonl"),
        ("store", "export", "s.h5", "--to", "npy", "--feature", name, "--out", "npy"),
        ("store", "rm", "copy.h5", "--speaker", f"1F{EVIL}"), ("store", "rm", "copy.h5", name),
        ("store", "repack", "copy.h5"),
        ("fit", *fit, "--out", "run"), ("fit", *fit, "--out", "run"), ("fit", *fit, "--seed", "1", "--out", "other"),
        ("verify", "run"), ("compare", "run", "other"),
    ]  # fmt: skip
    refused = [
        ("store", "ls", "s.h5", "--session", "none"), ("store", "show", "s.h5", "none"), ("store", "info", EVIL),
        ("store", "copy", "s.h5", "c.h5", "--features", EVIL), ("store", "rm", "copy.h5", "--speaker", "none"),
        ("store", "import", "copy.h5", "--from", "npy", "--source", "npy", "--name", EVIL, "--modality", "text"),
        ("fit", *fit, "--text", EVIL, "--out", "no"), ("fit", *fit[:2], "--protocol", "emodb4", "--model", "linear"),
        ("fit", *fit[:2], "--protocol", "q.toml", "--model", "linear"), ("predict", "--run", "run", "--text", EVIL),
        ("evaluate", "run", "--store", "s.h5", "--out", "evaluated"), ("report", EVIL),
    ]  # fmt: skip
    (tmp_path / "q.toml").write_text(PROTOCOL.replace("ang", "none").replace("hap", "nil"))
    for words in [*fine, *refused]:
        done = run(words[0], words[1:], tmp_path)
        printed = done.stdout + done.stderr
        assert not CONTROL.search(printed), (words, printed)
        assert printed, words
        assert (done.returncode > 1) == (words in refused), (words, printed)


def test_lines_and_tables(capsys: pytest.CaptureFixture[str]) -> None:
    say(f"a{ESC}\nb")
    warn(f"https://me:pass@host/{ESC}")
    printed = capsys.readouterr()
    assert printed.out == "a\N{REPLACEMENT CHARACTER}[31m\nb\n"
    assert printed.err == "https://host/\N{REPLACEMENT CHARACTER}[31m\n"
    assert "\n" not in format_table(["a"], [["b\nc"]])[2:]


def test_only_the_console_prints() -> None:
    found = []
    for file in PACKAGE.rglob("*.py"):
        path = file.relative_to(PACKAGE).as_posix()
        if path.startswith(("tests/", "benchmarks/", "docs/", ".")) or path == "common/output/console.py":
            continue
        source = file.read_text(encoding="utf-8")
        if not re.search(r"\bprint\b|click\.s?echo", source):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Name) and node.id == "print":
                found.append(f"{path}:{node.lineno}")
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("click.echo", "click.secho"):
                found.append(f"{path}:{node.lineno}")
    assert found == []
