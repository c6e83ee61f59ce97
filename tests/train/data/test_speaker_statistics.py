"""`--standardise speaker`: statistics of each speaker's clips alone, without labels, and said in every output."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.predict import predict
from emofuse.store import FeatureData, FeatureStore
from emofuse.train.api import fit
from emofuse.train.data.batches import TaskData
from emofuse.train.data.loader import Loader
from emofuse.train.evaluation.evaluate import evaluate
from emofuse.train.exporting.export import export
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.runs.reporting.caveat_marks import caveat_marks
from emofuse.train.runs.reporting.caveats import caveats
from emofuse.train.runs.verification.verify import verify_run

UTTERANCES = samples.utterances()
OTHER = replace(UTTERANCES[0], id="s1_x", label="dis")
"""A clip of speaker 1F that is of no class of the task."""
AUDIO = samples.frames(UTTERANCES, 0) | {OTHER.id: np.full((50, 6), 3.0, np.float32)}
TEXT = samples.frames((*UTTERANCES, replace(OTHER, label="sad")), 1, dimension=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("speakers")
    of = (*UTTERANCES, OTHER)
    features = {
        "logmel": FeatureData(modality="audio", arrays=AUDIO, encoder="logmel-smcn", frame_rate=20.0),
        "bert": FeatureData(modality="text", arrays=TEXT, encoder="bert"),
    }
    samples.store(made / "tiny.h5", of, features=features)
    samples.protocol_file(made)
    return made


def plan_and_data(folder: Path, model: str = "concat", **options: Any) -> tuple[FitPlan, TaskData]:
    with FeatureStore(folder / "tiny.h5") as store:
        plan = resolve(store, samples.config(folder, "run", model, standardise="speaker", **options))
        return plan, Loader(plan).task_data(plan.folds[0])


def expected(speaker: str, id: str) -> Any:
    """The frames of an utterance, standardised by hand over all frames of its speaker."""
    of = [np.float16(AUDIO[u.id]).astype(np.float64) for u in (*UTTERANCES, OTHER) if u.speaker == speaker]
    whole = np.concatenate(of)
    return (np.float16(AUDIO[id]) - whole.mean(0)) / whole.std(0)


def test_each_speaker_has_the_statistics_of_all_clips_of_the_store(folder: Path) -> None:
    plan, data = plan_and_data(folder)
    assert (plan.standardised, plan.speaker_standardised) == ((), ("audio",))
    data = data.with_statistics_of(np.arange(3))
    audio, lengths, *_ = data.batch(np.arange(len(UTTERANCES))).inputs
    assert audio is not None
    assert lengths is not None
    for row, length, utterance in zip(audio, lengths.tolist(), UTTERANCES, strict=True):
        np.testing.assert_allclose(row[:length], expected(str(utterance.speaker), utterance.id), atol=1e-3)
        assert not row[length:].any()


def test_pooled_features_are_standardised_by_the_pooled_clips_of_a_speaker(folder: Path) -> None:
    plan, data = plan_and_data(folder, "linear", audio="logmel")
    audio = data.modalities["audio"]
    clips = plan.speaker_clips["2F"]
    of = torch.stack([audio.values[i] for i, u in enumerate(plan.utterances) if u.id in clips])
    torch.testing.assert_close(of.mean(0), torch.zeros(12), atol=1e-4, rtol=0)
    torch.testing.assert_close(of.std(0, correction=0), torch.ones(12), atol=1e-4, rtol=0)


def test_every_output_says_so_and_a_single_clip_is_refused(folder: Path) -> None:
    lines: list[str] = []
    run = fit(samples.config(folder, "run", standardise="speaker", folds="1", report=True), say=lines.append)
    caveat = "audio standardised by each speaker's clips, the tested speakers' too, without labels"
    assert caveat in caveats(run.metrics)
    assert "speakers" in caveat_marks(run.metrics)
    assert caveat in "\n".join(lines)
    assert "20 frames/s, standardised by speaker" in "\n".join(lines)
    assert caveat[1:] in (run.folder / "report.html").read_text(encoding="utf-8").replace("&#39;", "'")
    assert json.loads((run.folder / "config.json").read_text())["run"]["speaker_standardised"] == ["audio"]
    assert not verify_run(run.folder).problems
    with pytest.raises(UsageError, match="standardises each speaker by all clips of his own"):
        export(run=run.folder, format="torchscript", out=folder / "file", say=lambda line: None)
    with pytest.raises(UsageError, match="a new clip has no such clips"):
        predict(run=run.folder, inputs=["a.wav"], say=lambda line: None)
    again = evaluate(run=run.folder, store=folder / "tiny.h5", out=folder / "again", say=lambda line: None)
    assert {k: again.metrics["pooled"][k] for k in ("ua", "wa")} == {k: run.metrics["pooled"][k] for k in ("ua", "wa")}
    assert caveat in caveats(again.metrics)


def test_labels_play_no_part(folder: Path, tmp_path: Path) -> None:
    _, data = plan_and_data(folder)
    shuffled = tuple(replace(u, label=samples.CLASSES[3 - i % 4]) for i, u in enumerate(UTTERANCES))
    with FeatureStore(folder / "tiny.h5") as store:
        features = {
            name: FeatureData(
                modality=store[name].modality,
                arrays={u.id: store[name][u.id] for u in (*UTTERANCES, OTHER)},
                encoder=store[name].encoder,
            )
            for name in ("logmel", "bert")
        }
    samples.store(tmp_path / "tiny.h5", (*shuffled, OTHER), features=features)
    samples.protocol_file(tmp_path)
    _, other = plan_and_data(tmp_path)
    assert torch.equal(data.modalities["audio"].values, other.modalities["audio"].values)
    assert not torch.equal(data.labels, other.labels)


def test_without_speakers_or_without_effect_it_is_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(UsageError, match="--standardise speaker has no effect, since no feature is standardised"):
        plan_and_data(folder, "text")
    of = tuple(replace(u, speaker=None) if u.id == "s2_u003" else u for u in UTTERANCES)
    samples.store(tmp_path / "tiny.h5", of)
    samples.protocol_file(tmp_path, samples.TOML.replace('"speaker", ', ""))
    with pytest.raises(UsageError, match="the speaker of 1 utterance is unknown, s2_u003 first"):
        plan_and_data(tmp_path)


def test_the_identity_of_other_runs_is_what_it_was(folder: Path) -> None:
    with FeatureStore(folder / "tiny.h5") as store:
        plain = resolve(store, samples.config(folder, "run")).identity()
    by_speaker = plan_and_data(folder)[0].identity()
    assert by_speaker == plain | {"standardised": [], "speaker_standardised": ["audio"]}
