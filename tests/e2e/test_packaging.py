"""The packages that pyproject.toml lists are the folders that there are; heavy libraries wait until needed."""

from __future__ import annotations

import importlib
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from paths import ROOT

COMMANDS = [f"emofuse.{name}" for name in ("extract.commands.extract", "train.commands.fit", "common.umbrella")]
PACKAGES = ("common", "manifests", "datasets", "store", "extract", "train", "predict", "report")


def test_every_folder_with_modules_is_listed() -> None:
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {p.parent.relative_to(ROOT) for package in PACKAGES for p in (ROOT / package).rglob("*.py")}
    pages = {Path("docs")}  # what `emofuse help` prints
    assert sorted(listed) == sorted(f"emofuse.{folder.as_posix().replace('/', '.')}" for folder in folders | pages)


def test_datasets_stays_a_folder_without_init() -> None:
    assert not (ROOT / "datasets" / "__init__.py").exists(), "it would hide Hugging Face's datasets inside the checkout"


def test_hugging_face_datasets_is_found_inside_the_checkout(tmp_path: Path) -> None:
    package = tmp_path / "datasets"
    package.mkdir()
    (package / "__init__.py").write_text("name = 'the installed one'")
    code = f"import sys; sys.path.append({str(tmp_path)!r}); import datasets; print(datasets.name)"
    for place in (ROOT, tmp_path.parent):  # -S: whatever this environment has installed stays out of it
        result = subprocess.run([sys.executable, "-S", "-c", code], cwd=place, capture_output=True, text=True)
        assert result.stdout == "the installed one\n", result.stderr


@pytest.mark.parametrize("module", COMMANDS)
def test_help_waits_for_no_heavy_library(module: str) -> None:
    heavy = "torch,transformers,torchaudio,sklearn,av,soundfile,h5py,matplotlib"
    code = f"import sys, {module}; print([m for m in {heavy!r}.split(',') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout == "[]\n", result.stdout + result.stderr


@pytest.mark.parametrize("module", COMMANDS)
def test_every_command_explains_itself(module: str) -> None:
    code = f"import sys; sys.argv = ['x', '--help']; import {module} as m; m.main()"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "Usage:" in result.stdout


@pytest.mark.parametrize("module", ["emofuse.extract", "emofuse.train", "emofuse.store", "emofuse.store.exchange"])
def test_every_public_name_is_there(module: str) -> None:
    package = importlib.import_module(module)
    assert all(getattr(package, name) is not None for name in package.__all__)
