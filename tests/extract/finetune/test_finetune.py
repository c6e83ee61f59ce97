"""`emofuse finetune`: one checkpoint per fold, fitted on what the fold may use, with a truthful card, resumable."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import emobox_samples as emobox
import finetune_samples as samples
import numpy as np
import pytest
import tiny_text_models as text
import torch
from finetune_samples import finetune, tensors

from emofuse.common.disk import training_checkpoint
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions
from emofuse.extract.finetune import loop
from emofuse.extract.finetune.config import FinetuneSettings
from emofuse.extract.finetune.network import Classifier
from emofuse.extract.finetune.source import FinetuneSource, sizes_of
from emofuse.manifests.schema import Utterance

LONG = ("--epochs", 12, "--patience", 24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return samples.make(tmp_path_factory.mktemp("finetune"))


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    done = finetune(folder, "--out", folder / "run", *LONG)
    assert done.exit_code == 0, done.output
    return folder / "run"


def card(path: Path) -> dict[str, Any]:
    from emofuse.common.disk import tensor_file

    return tensor_file.read_metadata(path / "model.safetensors")


def test_a_fold_is_fitted_on_what_it_does_not_test(run: Path) -> None:
    for number in (1, 2, 3):
        content = card(run / f"fold_{number}")
        (entry,) = content["fitted_on"]
        assert {id[:2] for id in entry.pop("ids")} == {f"s{s}" for s in (1, 2, 3) if s != number}
        assert entry == {"corpus": "custom", "labels": True}
        validated = str(number % 3 + 1)
        fold = {"number": number, "name": str(number), "by": "session", "validated": validated, "protocol": "own3"}
        assert len(content["fold"].pop("run")) == 16
        assert content["fold"] == fold


def test_it_learns_the_words_that_tell_the_class(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["validation"]["mean"] > 0.9
    assert [r["validated"] for r in metrics["folds"]] == ["2", "3", "1"]


def test_layers_are_unfrozen_one_after_the_other_from_the_last_down(run: Path) -> None:
    with (run / "fold_1" / "history.csv").open() as file:
        free = [int(row["free"]) for row in csv.DictReader(file)]
    assert free == sorted(free)
    assert free[0] < 4
    assert free[-1] == 4


def test_a_frozen_layer_does_not_change(folder: Path, tmp_path: Path) -> None:
    done = finetune(folder, "--out", tmp_path / "r", "--folds", 1, "--unfreeze-every", 5, "--epochs", 3)
    assert done.exit_code == 0, done.output
    before, after = tensors(folder / "bert"), tensors(tmp_path / "r" / "fold_1")
    moved = {name for name in after if not np.array_equal(before[name], after[name])}
    # Six updates: the last layer from the start, the one before it for one update, or not at the best evaluation.
    assert any(name.startswith("encoder.layer.2.") for name in moved)
    assert not any(name.startswith(("embeddings.", "encoder.layer.0.")) for name in moved)


def test_the_labels_and_words_of_the_test_side_change_nothing(run: Path, tmp_path: Path) -> None:
    other = samples.make(tmp_path)
    rows = (other / "own" / "own.csv").read_text().splitlines()
    turned = {"ang": "sad", "sad": "hap", "hap": "ang"}
    for i, row in enumerate(rows):
        id, words, label, *rest = row.split(",")
        if id.startswith("s1"):
            rows[i] = ",".join([id, f"why {words}", turned[label], *rest])
    (other / "own" / "own.csv").write_text("\n".join(rows) + "\n")
    done = finetune(other, "--out", other / "run", *LONG, "--folds", 1)
    assert done.exit_code == 0, done.output
    for path in sorted((run / "fold_1").iterdir()):
        if path.name not in ("history.csv", "result.json"):  # which hold seconds
            assert path.read_bytes() == (other / "run" / "fold_1" / path.name).read_bytes(), path.name


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_bytes(
    folder: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(training_checkpoint, "SHARE", 0)
    real, left = loop._update, 0

    def dying(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(loop, "_update", dying)
    for left in (13, 60):  # noqa: B007
        done = finetune(folder, "--out", tmp_path / "run", *LONG)
        assert done.exit_code == 130, done.output
        assert not (tmp_path / "run" / "metrics.json").exists()
    done = finetune(folder, "--out", tmp_path / "run", *LONG)
    assert done.exit_code == 0, done.output
    assert "of 3 folds are already done; continuing with the others" in done.output
    assert "resumes from update" in done.output
    for number in (1, 2, 3):
        for name in ("model.safetensors", "config.json"):
            again = (tmp_path / "run" / f"fold_{number}" / name).read_bytes()
            assert again == (run / f"fold_{number}" / name).read_bytes()
        assert not (tmp_path / "run" / f"fold_{number}" / "training.safetensors").exists()


def test_a_finished_run_is_not_repeated(folder: Path, run: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}
    done = finetune(folder, "--out", run, *LONG)
    assert done.exit_code == 0, done.output
    assert f"already done: {run} holds this run" in done.output
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()} == before
    other = finetune(folder, "--out", run, *LONG, "--seed", 1)
    assert other.exit_code == 2
    assert "Traceback" not in other.output


def test_it_ends_when_validation_stops_improving(folder: Path, tmp_path: Path) -> None:
    done = finetune(folder, "--out", tmp_path / "r", "--folds", 1, "--epochs", 40, "--patience", 2)
    assert done.exit_code == 0, done.output
    (fold,) = json.loads((tmp_path / "r" / "metrics.json").read_text())["folds"]
    assert fold["updates"] < 160
    assert fold["update"] <= fold["updates"]


def classifier(folder: Path, **settings: Any) -> tuple[Classifier, FinetuneSource, FinetuneSettings]:
    torch.manual_seed(0)
    chosen = FinetuneSettings(dropout=0.0, **settings)
    encoder: Any = ENCODERS["bert"].build(EncoderOptions(weights=str(folder / "bert")))
    utterances = tuple(
        Utterance(id=f"u{i}", text=t, label="ang") for i, t in enumerate([*text.TEXTS, "no train", "left", "happy no"])
    )
    source = FinetuneSource(
        utterances=utterances,
        labels=np.arange(8) % 3,
        sizes=sizes_of(utterances, "text"),
        root=folder,
        sample_rate=None,
        max_seconds=20.0,
    )
    model = Classifier(encoder.tuning(), 3, chosen)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.unfreeze(len(model.tuning.blocks))
    return model, source, chosen


@pytest.mark.parametrize("parts", [2, 4])
def test_a_batch_in_sub_batches_is_the_same_update(folder: Path, parts: int) -> None:
    found = []
    for accumulate in (1, parts):
        model, source, settings = classifier(folder, batch=8, accumulate=accumulate)
        optimiser = model.optimiser(settings)
        for group in optimiser.param_groups:
            group["lr"] = group["highest"]
        batch = next(source.ahead(iter([np.arange(8)])))
        scaler = torch.amp.GradScaler("cpu", enabled=False)
        task = loop.FinetuneFold(
            source=source,
            train=np.arange(8),
            validation=np.arange(0),
            settings=settings,
            metric="ua",
            device="cpu",
            class_weights=torch.tensor([1.0, 2.0, 0.5]),
        )
        loss = loop._update(model, optimiser, scaler, batch, task)
        found.append((loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    assert torch.allclose(found[0][0], found[1][0], rtol=1e-5)
    for name, tensor in found[0][1].items():
        assert torch.allclose(tensor, found[1][1][name], rtol=1e-4, atol=1e-7), name


def test_more_sub_batches_than_utterances_work(folder: Path, tmp_path: Path) -> None:
    options = ("--batch", 64, "--accumulate", 64, "--epochs", 2, "--folds", 1)
    assert finetune(folder, "--out", tmp_path / "r", *options).exit_code == 0


def test_what_the_encoder_cannot_read_is_listed(folder: Path, tmp_path: Path) -> None:
    other = samples.make(tmp_path)
    rows = re.sub(r"^(s[12]u00),[^,]*", r"\1,", (other / "own" / "own.csv").read_text(), flags=re.M)
    (other / "own" / "own.csv").write_text(rows)
    done = finetune(other, "--out", tmp_path / "r", "--folds", 1, "--epochs", 1)
    assert done.exit_code == 1, done.output
    assert "2 items excluded:\n  s1u00: text: " in done.stderr


def test_folds_added_later_belong_to_the_same_run(folder: Path, tmp_path: Path) -> None:
    for n, more in ((1, ()), (2, ()), (3, ("--lr", "0.001"))):
        options = ("--folds", n, "--epochs", 1, "--out", tmp_path / str(n), *more)
        assert finetune(folder, *options).exit_code == 0
    runs = [card(tmp_path / str(n) / f"fold_{n}")["fold"]["run"] for n in (1, 2, 3)]
    assert runs[0] == runs[1] != runs[2]


def test_the_next_command_is_the_whole_one(folder: Path, tmp_path: Path) -> None:
    done = finetune(folder, "--out", tmp_path / "r", "--folds", 1, "--epochs", 1)
    own = folder / "own"
    assert (
        f"next: extract --dataset custom --root {own} --manifest {own / 'own.csv'} --encoder bert "
        f"--weights {tmp_path / 'r'}" in done.output
    )


def test_lower_layers_have_lower_rates(folder: Path) -> None:
    model, _, settings = classifier(folder, lr=1e-3, layer_decay=0.5, head_lr=0.1)
    assert [g["highest"] for g in model.optimiser(settings).param_groups] == [1.25e-4, 2.5e-4, 5e-4, 1e-3, 0.1]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_fits_too_and_its_weights_stay_float32(folder: Path, tmp_path: Path, precision: str) -> None:
    done = finetune(folder, "--out", tmp_path / "r", "--folds", 1, "--precision", precision, "--epochs", 8)
    assert done.exit_code == 0, done.output
    assert {str(t.dtype) for t in tensors(tmp_path / "r" / "fold_1").values()} == {"float32"}
    assert json.loads((tmp_path / "r" / "metrics.json").read_text())["validation"]["mean"] > 0.5


REFUSED = [
    (["--encoder", "hashed"], "encoder hashed has no weights that can be fitted further; valid: "),
    (["--encoder", "brt"], "no encoder named 'brt'"),
    (["--protocol", "iemocap4"], "protocol iemocap4 is for corpus iemocap, not for custom"),
    (["--protocol", "joint4"], "joins several corpora; encoders are fine-tuned on one"),
    (["--dataset", "iemcap"], "no dataset named 'iemcap'"),
    (["--folds", "7"], "no fold named '7'"),
    (["--limit", "2"], "--limit is too low"),
    (["--accumulate", "4"], "a batch of 6 cannot be divided into 4 equal micro-batches"),
    (["--epochs", "0", "--lr", "-1"], "epochs is 0.0, expected a number above 0"),
    (["--epochs", "inf"], "epochs is inf, expected a number above 0"),
    (["--unfreeze-every", "-1"], "unfreeze_every is -1, expected 0 (all at once) or more"),
    (["--layer-decay", "2"], "layer_decay is 2.0, expected 0 to 1"),
    (["--device", "cuda:9"], "no device 'cuda:9'"),
    (["--fitted-on", "custom:colour=1"], "--fitted-on 'custom:colour=1'"),
    (["--weights", "nowhere"], "expected a folder that exists"),
    (["--encoder", "t5", "--precision", "fp16"], "T5 overflows in fp16"),
    (["--encoder", "hubert"], "has no audio here, which hubert reads"),
    (["--lr", "1e30", "--clip", "1e30", "--unfreeze-every", "0"], "lower the learning rate, --lr 1e+29"),
]


@pytest.mark.parametrize(("options", "message"), REFUSED, ids=[" ".join(w) for w, _ in REFUSED])
def test_a_mistake_ends_in_one_message(folder: Path, tmp_path: Path, options: list[str], message: str) -> None:
    done = finetune(folder, "--out", tmp_path / "r", *options)
    assert done.exit_code == 2, done.output
    assert message in done.stderr
    assert "Traceback" not in done.output
    assert not (tmp_path / "r" / "metrics.json").exists()


def test_a_set_of_emobox_has_protocols_of_its_own(folder: Path, tmp_path: Path) -> None:
    row = emobox.row("cafe", "01-P-1", "a.wav", "p")
    manifest = emobox.write_set(tmp_path, "cafe", [row], {}, {"p": "Fear"})
    clip = tmp_path / str(row["wav"])
    clip.parent.mkdir(parents=True)
    clip.touch()
    protocol = tmp_path / "mine.toml"
    protocol.write_text(
        'corpus = "emobox-cafe"\nsource = "ours"\nclasses = ["Fear", "Happy"]\nmetrics = ["ua"]\n'
        '[folds]\nby = "speaker"\n'
    )
    options = ("--dataset", "emobox", "--root", tmp_path, "--manifest", manifest, "--encoder", "bert")
    assert "emobox has no text here, which bert reads" in finetune(folder, *options, "--protocol", protocol).stderr
    other = finetune(folder, *options, "--protocol", "iemocap4").stderr
    assert "protocol iemocap4 is for corpus iemocap, not for emobox-cafe" in other


def test_counts_that_differ_from_the_protocols_are_refused_or_allowed(folder: Path, tmp_path: Path) -> None:
    toml = tmp_path / "own3.toml"
    toml.write_text(samples.TOML + "\n[expected]\ntotal = 74\nclasses = { ang = 26, hap = 24, sad = 24 }\n")
    options = ("--protocol", toml, "--out", tmp_path / "r", "--epochs", 1)
    done = finetune(folder, *options)
    assert done.exit_code == 2
    assert "off by 2, allowed 0" in done.stderr
    assert "--allow-missing 2" in done.stderr
    assert finetune(folder, *options, "--allow-missing", 2).exit_code == 0


def test_a_full_memory_says_how_to_use_less(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "_update", full)
    done = finetune(folder, "--out", tmp_path / "r")
    assert done.exit_code == 2
    assert (
        "the memory of cpu is full; it held 6 utterances at once: the same command with --accumulate 2" in done.stderr
    )
    done = finetune(folder, "--out", tmp_path / "r", "--accumulate", 2)
    assert "--accumulate 3 holds 2, and resumes where this one stopped" in done.stderr
    done = finetune(folder, "--out", tmp_path / "r", "--accumulate", 6)
    assert "a single utterance is too large: cut clips, --max-seconds 10" in done.stderr
