"""The packages that pyproject.toml lists are the folders that there are; heavy libraries wait until needed."""

from __future__ import annotations

import importlib
import re
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


def test_every_file_of_a_release_has_the_same_version_and_needs() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    recipe = (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f'version: "{project["version"]}"' in recipe
    assert f"\nversion: {project['version']}\n" in citation
    names = {"torch": "pytorch", "xxhash": "python-xxhash"}  # what conda-forge calls them
    needs = [re.sub(r"^[\w-]+", lambda name: names.get(name[0], name[0]), need) for need in project["dependencies"]]
    run = recipe.partition("  run:\n")[2].partition("\n\n")[0]
    assert re.findall(r"- (\S+) (\S+)", run) == [
        ("python", project["requires-python"]),
        *(re.fullmatch(r"([\w-]+)(.+)", need).groups() for need in needs),  # type: ignore[union-attr]
    ]


def test_the_oldest_versions_are_the_lower_ends_of_the_ranges() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = dict(
        line.split("==")
        for line in (ROOT / "constraints-lowest.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    extras = project["optional-dependencies"]
    needs = {need for extra, wanted in extras.items() if extra not in ("dev", "docs") for need in wanted}
    for need in sorted(needs | set(project["dependencies"])):
        name, end = re.sub(r"\[.*\]", "", need).split(">=")
        assert f"{oldest[name]}.".startswith(f"{end}."), f"{name}: uv pip compile --resolution lowest-direct again"
