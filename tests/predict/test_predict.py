"""A run asked about recordings: the values of `fit`, whatever else is asked too, and the mean over models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import predict_samples as samples
import pytest
from train_samples import rows as rows_of

from emofuse.common.errors import DataError, UsageError
from emofuse.predict import PredictConfig, predict
from emofuse.train import Run
from emofuse.train.models.registry import MODELS

SAME = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.corpus(tmp_path_factory.mktemp("predict"))


@pytest.fixture(scope="module")
def fused(folder: Path) -> Run:
    return samples.run(folder, "fused", "smcn")


@pytest.fixture(scope="module")
def audio_run(folder: Path) -> Run:
    return samples.run(folder, "audio-run", "audio", seeds=2)


def wavs(folder: Path, count: int) -> list[Path]:
    return sorted((folder / "corpus" / "wav").glob("*.wav"))[:count]


def test_the_corpus_own_clips_get_the_probabilities_of_predictions_csv(folder: Path, fused: Run) -> None:
    found = samples.by_id(samples.asked(fused, inputs=folder / "corpus" / "synthetic.csv", fold=2))
    for id, probabilities in samples.scored(fused, 2).items():
        assert found[id].probabilities == pytest.approx(probabilities, abs=SAME)
        assert found[id].models == 1
        assert found[id].spread is None


@pytest.mark.parametrize("name", [e.name for e in MODELS if not e.value.layered and not e.value.context])
def test_every_model_of_the_registry_predicts_what_it_scored(folder: Path, name: str) -> None:
    run = samples.run(folder, f"run-{name}", name, folds=[1])
    scored = samples.scored(run, 1)
    together = samples.by_id(samples.asked(run, inputs=folder / "corpus" / "synthetic.csv", fold=1))
    assert {id: together[id].probabilities for id in scored} == {
        id: pytest.approx(probabilities, abs=SAME) for id, probabilities in scored.items()
    }
    if "text" not in run.config["run"]["features"]:
        alone = samples.asked(run, inputs=wavs(folder, 1)).rows[0]
        assert alone.probabilities == pytest.approx(together[Path(alone.id).stem].probabilities, abs=SAME)


def test_several_features_of_a_modality_predict_what_was_scored(folder: Path) -> None:
    run = samples.run(folder, "several", "concat", audio=["logmel", "logmel-mcfn"], combine="gated", folds=[1])
    found = samples.by_id(samples.asked(run, inputs=folder / "corpus" / "synthetic.csv", fold=1))
    scored = samples.scored(run, 1)
    assert {id: found[id].probabilities for id in scored} == {
        id: pytest.approx(probabilities, abs=SAME) for id, probabilities in scored.items()
    }


def test_a_clip_alone_and_among_others_gives_the_same(folder: Path, audio_run: Run) -> None:
    together = samples.by_id(samples.asked(audio_run, inputs=wavs(folder, 9)))
    for path in wavs(folder, 3):
        alone = samples.asked(audio_run, inputs=path).rows[0]
        assert alone.probabilities == pytest.approx(together[str(path)].probabilities, abs=SAME)


def test_folds_and_seeds_are_averaged_and_their_spread_is_given(folder: Path, audio_run: Run) -> None:
    clip = wavs(folder, 1)
    whole = samples.asked(audio_run, inputs=clip).rows[0]
    of_folds = [samples.asked(audio_run, inputs=clip, fold=fold).rows[0] for fold in (1, 2)]
    assert whole.models == 4
    assert [row.models for row in of_folds] == [2, 2]
    mean = {c: np.mean([row.probabilities[c] for row in of_folds]) for c in whole.probabilities}
    assert whole.probabilities == pytest.approx(mean, abs=SAME)
    assert whole.spread is not None
    assert whole.spread > 0


def test_a_calibrated_run_gives_both_probabilities(folder: Path, tmp_path: Path) -> None:
    run = samples.run(folder, "calibrated", "audio", calibrate="temperature", final=True)
    out = tmp_path / "found.csv"
    found = samples.by_id(samples.asked(run, inputs=folder / "corpus" / "synthetic.csv", fold=1, format="csv", out=out))
    table = {row["id"]: row for row in samples.rows(out)}
    scored = [row for row in rows_of(run.folder / "predictions.csv") if row["fold"] == "1"]
    for row in scored:
        calibrated = found[row["id"]].calibrated
        assert calibrated is not None
        for name in calibrated:
            column = f"calibrated_p_{name}"
            assert calibrated[name] == pytest.approx(float(row[column]), abs=SAME)
            assert float(table[row["id"]][column]) == calibrated[name]
    one = found[scored[0]["id"]]
    assert one.calibrated != one.probabilities
    assert samples.asked(run, inputs=wavs(folder, 1), refit=True).rows[0].calibrated is None


def test_the_final_model_is_asked_alone(folder: Path) -> None:
    run = samples.run(folder, "with-final", "audio", final=True)
    clip = wavs(folder, 1)
    final, folds = samples.asked(run, inputs=clip, refit=True).rows[0], samples.asked(run, inputs=clip).rows[0]
    assert (final.models, final.spread, folds.models) == (1, None, 2)
    assert final.probabilities != folds.probabilities


def test_a_run_without_a_final_model_says_how_to_add_it(folder: Path, audio_run: Run) -> None:
    with pytest.raises(UsageError, match="--final"):
        samples.asked(audio_run, inputs=wavs(folder, 1), refit=True)


def test_stores_are_not_needed_and_the_run_is_not_written_to(folder: Path, fused: Run) -> None:
    before = {path: path.stat().st_mtime_ns for path in fused.folder.rglob("*")}
    store = folder / "store.h5"
    moved = store.rename(folder / "moved.h5")
    try:
        samples.asked(fused, inputs=wavs(folder, 1), text="so good to see you")
    finally:
        moved.rename(store)
    assert {path: path.stat().st_mtime_ns for path in fused.folder.rglob("*")} == before


def test_a_run_that_reads_text_alone_takes_a_text_alone(folder: Path) -> None:
    run = samples.run(folder, "text-run", "text")
    (row,) = samples.asked(run, text="so good to see you").rows
    assert (row.id, row.start, row.end, row.kind) == ("text", None, None, "clip")
    with pytest.raises(UsageError, match=r"read text, and no input has text: pass --text, .*--transcribe MODEL"):
        samples.asked(run, inputs=wavs(folder, 1))


def test_a_run_that_reads_audio_alone_refuses_words(folder: Path, audio_run: Run) -> None:
    with pytest.raises(UsageError, match=r"text has no effect: .* read audio alone"):
        samples.asked(audio_run, inputs=wavs(folder, 1), text="so good")


def test_a_missing_modality_is_refused_unless_the_model_allows_it(folder: Path, fused: Run) -> None:
    with pytest.raises(UsageError, match="read audio and text, and no input has text"):
        samples.asked(fused, inputs=wavs(folder, 1))
    flexible = samples.run(folder, "flexible", "msmser")
    manifest = folder / "corpus" / "some.csv"
    names = [path.name for path in wavs(folder, 2)]
    manifest.write_text(f"id,audio,text\na,wav/{names[0]},so good\nb,wav/{names[1]},\nc,,only words\n")
    found = samples.asked(flexible, inputs=manifest)
    assert {row.id: row.missing for row in found.rows} == {"a": (), "b": ("text",), "c": ("audio",)}
    strict = samples.asked(fused, inputs=manifest)
    assert [row.id for row in strict.rows] == ["a"]
    assert {item.id: item.reason for item in strict.excluded} == {
        "b": "text: empty",
        "c": "has no audio, which the models read",
    }


def test_clips_that_cannot_be_read_are_listed_and_the_others_predicted(
    folder: Path, audio_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.wav").touch()
    (tmp_path / "noise.wav").write_bytes(b"not audio at all")
    (tmp_path / "notes.txt").write_text("no audio either")
    good = wavs(folder, 1)[0]
    inputs = [tmp_path / "empty.wav", tmp_path / "noise.wav", good, tmp_path / "notes.txt"]
    found = samples.asked(audio_run, inputs=inputs)
    assert [row.id for row in found.rows] == [str(good)]
    assert [item.id for item in found.excluded] == [str(path) for path in inputs if path != good]
    assert found.exit_code == 1
    assert f"excluded {tmp_path / 'empty.wav'}: audio: is empty (0 bytes)" in capsys.readouterr().err
    with pytest.raises(UsageError, match=r"no clip can be predicted; .*empty\.wav: audio: is empty"):
        samples.asked(audio_run, inputs=[tmp_path / "empty.wav"])


def test_all_wrong_options_are_named_at_once(fused: Run) -> None:
    with pytest.raises(UsageError) as caught:
        predict(run=fused.folder, fold=1, refit=True, hop=1, text="a", transcribe="b")
    for part in ("hop has no effect without window", "text and transcribe exclude", "fold and refit exclude"):
        assert part in str(caught.value)
    with pytest.raises(UsageError, match="nothing to predict"):
        predict(PredictConfig(run=fused.folder))


def test_a_damaged_run_is_damaged_data(folder: Path, fused: Run, tmp_path: Path) -> None:
    weights = fused.folder / "fold_1" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:1000])
    try:
        with pytest.raises(DataError, match=r"fold_1.model\.safetensors"):
            samples.asked(fused, inputs=wavs(folder, 1), text="so good")
    finally:
        weights.write_bytes(content)


def test_options_in_one_record_are_the_same_call(folder: Path, audio_run: Run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "found.csv"
    config = PredictConfig(run=audio_run.folder, inputs=wavs(folder, 2), format="csv", out=out, quiet=True)
    found = predict(config, say=samples.quiet)
    table = samples.rows(out)
    assert [row["id"] for row in table] == [row.id for row in found.rows]
    top = found.rows[0].prediction
    assert float(table[0][f"p_{top}"]) == found.rows[0].probabilities[top]
    with pytest.raises(UsageError, match="already exists"):
        predict(replace(config), say=samples.quiet)


def test_sets_of_labels_are_predicted_as_they_were_scored(folder: Path, tmp_path: Path) -> None:
    labels = ["angry", "happy", "sad", "calm"]
    task = tmp_path / "several.toml"
    task.write_text(
        f'corpus = "synthetic"\nsource = "a test"\ntarget = "multilabel"\nclasses = {labels}\nmetrics = ["macro_f1"]\n'
        '[folds]\nby = "session"\n'
    )
    run = samples.run(folder, "run-several", "concat", folds=[1], protocol=task, allow_missing=0)
    found = samples.by_id(samples.asked(run, inputs=folder / "corpus" / "synthetic.csv", fold=1))
    rows = {row["id"]: row for row in samples.rows(run.folder / "predictions.csv")}
    assert {id: found[id].prediction for id in rows} == {id: row["prediction"] for id, row in rows.items()}
    assert {id: found[id].probabilities for id in rows} == {
        id: pytest.approx({c: float(row[f"p_{c}"]) for c in labels}, abs=SAME) for id, row in rows.items()
    }
