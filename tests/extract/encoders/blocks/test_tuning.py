"""What `finetune` may change of every encoder, and that `extract` then reads what it saved, on tiny checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_speech_models as speech
import tiny_text_models as text
import torch
from patch_samples import save_random_weights
from patch_samples import speech as clip
from tiny_text_models import TEXTS

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.audio.torchaudio_compat import import_transformers
from emofuse.extract.encoders.blocks.tuning import Tuning
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions

ABOUT = {"fitted_on": [{"corpus": "own", "labels": True, "ids": ["a"]}], "pretrained_on": "nothing: random weights"}
SPEECH = ["hubert", "hubert-large", "wav2vec2", "wavlm", "batch-normed-hubert"]
TEXT = ["bert", "minilm", "roberta", "mpnet", "t5", "bert-goemotions", "distilbert-goemotions", "distilbert", "gpt2"]
PATCHES = ["yamnet", "vggish", "trill"]
CASES = [*SPEECH, *TEXT, *PATCHES]
# VGGish's tensors are 288 MB.
LIGHT = [pytest.param(case, marks=[pytest.mark.slow] if case == "vggish" else []) for case in CASES]


def save(folder: Path, case: str) -> tuple[str, Path]:
    """The encoder's registered name, and its tiny weights of RANDOM numbers."""
    if case in PATCHES:
        return case, save_random_weights(folder, case)
    if case in TEXT:
        return text.CASES[case][0], text.save(folder, case)
    return speech.CASES[case][0], speech.save(folder, case)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Path]]:
    torch.set_num_threads(1)
    return {case: save(tmp_path_factory.mktemp(case), case) for case in CASES}


def build(name: str, weights: Path, **options: Any) -> Any:
    return ENCODERS[name].build(EncoderOptions(weights=str(weights), **options))


def items(encoder: Any) -> list[Any]:
    if encoder.modality == "text":
        return TEXTS
    return [clip(n, seed) for seed, n in enumerate((5000, 24000, 12000, 9999))]


def step(tuning: Tuning, of: list[Any], free: int) -> None:
    """One step of plain descent of the last `free` blocks."""
    chosen = [p for block in tuning.blocks[len(tuning.blocks) - free :] for p in block.parameters]
    for p in tuning.module.parameters():
        p.requires_grad_(False)
        p.grad = None
    for p in chosen:
        p.requires_grad_(True)
    tuning.pooled(of).square().mean().backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for p in chosen:
            if p.grad is not None:
                p -= 0.1 * p.grad / (p.grad.abs().max() + 1e-6) * (p.abs().mean() + 1e-3)


@pytest.mark.parametrize("case", CASES)
def test_pooled_is_the_mean_of_the_frames_that_extract_stores(case: str, files: dict[str, tuple[str, Path]]) -> None:
    encoder = build(*files[case])
    of = items(encoder)
    wanted = np.stack([frames.mean(0) for frames in encoder.encode(of)])
    tuning = encoder.tuning()
    with torch.no_grad():
        found = tuning.pooled(of).numpy()
    assert found.shape == (len(of), tuning.dimension)
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=2e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("case", LIGHT)
def test_blocks_cover_what_the_output_depends_on_once_from_input_to_output(
    case: str, files: dict[str, tuple[str, Path]]
) -> None:
    tuning = build(*files[case]).tuning()
    of = items(build(*files[case]))
    parameters = [id(p) for block in tuning.blocks for p in block.parameters]
    assert len(set(parameters)) == len(parameters)
    assert len(tuning.blocks) >= 3
    for p in tuning.module.parameters():
        p.requires_grad_(True)
    tuning.pooled(of).sum().backward()  # type: ignore[no-untyped-call]
    reached = {id(p) for p in tuning.module.parameters() if p.grad is not None}
    assert reached <= set(parameters)
    for block in tuning.blocks:
        assert reached & {id(p) for p in block.parameters}, block.name


@pytest.mark.parametrize("case", LIGHT)
def test_what_was_saved_is_what_extract_reads(case: str, files: dict[str, tuple[str, Path]], tmp_path: Path) -> None:
    name, weights = files[case]
    encoder = build(name, weights)
    of, before = items(encoder), encoder.encode(items(encoder))
    tuning = encoder.tuning()
    step(tuning, of, len(tuning.blocks))
    tuning.save(tmp_path, ABOUT)
    again = build(name, tmp_path)
    after = again.encode(of)
    for one, two, old in zip(after, encoder.encode(of), before, strict=True):
        np.testing.assert_array_equal(one, two)
        assert not np.allclose(one, old, rtol=1e-4)
    provenance = again.provenance()
    assert {k: provenance[k] for k in ABOUT} == ABOUT
    assert again.identity() != build(name, weights).identity()


@pytest.mark.parametrize("case", ["hubert", "bert", "t5", "bert-goemotions", "yamnet", "trill"])
def test_a_checkpoint_that_was_saved_again_without_its_words_is_unknown(
    case: str, files: dict[str, tuple[str, Path]], tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    name, weights = files[case]
    build(name, weights).tuning().save(tmp_path, ABOUT)
    if case not in PATCHES:
        again = import_transformers().AutoModel.from_pretrained(tmp_path)
        again.save_pretrained(tmp_path)
    else:
        save_file(load_file(tmp_path / "model.safetensors"), tmp_path / "model.safetensors")
    (entry,) = build(name, tmp_path).provenance()["fitted_on"]
    assert (entry["corpus"], entry["labels"]) == ("unknown", True)


@pytest.mark.parametrize("case", ["hubert", "bert", "t5", "yamnet"])
def test_layers_that_are_not_free_do_not_change(case: str, files: dict[str, tuple[str, Path]], tmp_path: Path) -> None:
    encoder = build(*files[case])
    tuning = encoder.tuning()
    of, old = items(encoder), {n: p.detach().clone() for n, p in tuning.module.named_parameters()}
    step(tuning, of, 1)
    last = {id(p) for p in tuning.blocks[-1].parameters}
    changed = {id(p) for n, p in tuning.module.named_parameters() if not torch.equal(p, old[n])}
    assert changed
    assert changed <= last


@pytest.mark.parametrize("wrong", [{"fitted_on": "nothing"}, {"fold": 3}, {"pretrained_on": ["x"]}], ids=str)
def test_a_card_in_no_known_form_is_refused(
    wrong: dict[str, Any], files: dict[str, tuple[str, Path]], tmp_path: Path
) -> None:
    name, weights = files["bert"]
    build(name, weights).tuning().save(tmp_path, {**ABOUT, **wrong})
    with pytest.raises(DataError, match=f"was changed: {next(iter(wrong))} in its card is malformed"):
        build(name, tmp_path).provenance()


@pytest.mark.parametrize(("saved", "asked"), [("yamnet", "vggish"), ("bert", "yamnet"), ("hubert", "wav2vec2")])
def test_the_weights_of_another_encoder_are_refused(
    saved: str, asked: str, files: dict[str, tuple[str, Path]], tmp_path: Path
) -> None:
    build(*files[saved]).tuning().save(tmp_path, ABOUT)
    with pytest.raises(UsageError, match=asked):
        build(asked, tmp_path)
