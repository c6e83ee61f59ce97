"""Whisper gets the language that is spoken, or detects it; its weights here are RANDOM, its texts mean nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import asr_samples as asr
import numpy as np
import pytest
import torch

from emofuse.common.errors import UsageError
from emofuse.extract.asr import recogniser
from emofuse.extract.asr.recogniser import load_recogniser
from emofuse.extract.asr.transcribe import Transcripts
from emofuse.extract.plan.config import ExtractConfig
from emofuse.manifests.schema import ASR, Manifest, Utterance

CLIPS = [asr.tone(["a", "o"], 0), asr.tone(["u"], 1), asr.tone(["o", "u", "a"], 2)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("whispers")
    asr.save_whisper(folder / "several", languages=("de", "en", "pl"))
    asr.save_whisper(folder / "plain")
    english = asr.save_whisper(folder / "english", languages=("de", "en", "pl"))
    settings = english / "generation_config.json"
    settings.write_text(json.dumps({**json.loads(settings.read_text()), "is_multilingual": False}))
    return folder


def prompts(monkeypatch: pytest.MonkeyPatch, loaded: recogniser.Recogniser) -> list[dict[str, Any]]:
    """The task and the language that `generate` gets, call by call."""
    told: list[dict[str, Any]] = []
    real = loaded.model.generate

    def generate(**options: Any) -> Any:
        told.append({name: options.get(name) for name in ("task", "language")})
        return real(**options)

    monkeypatch.setattr(loaded.model, "generate", generate)
    return told


def test_a_model_whose_config_has_lost_its_languages_is_told_them(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "lang_to_id" not in (models / "several" / "generation_config.json").read_text()
    loaded = load_recogniser(str(models / "several"), "cpu", "de", "en")
    told = prompts(monkeypatch, loaded)
    found = loaded.transcribe(CLIPS)
    assert told == [{"task": "transcribe", "language": ["de"] * 3}]
    assert [one.language for one in found] == [None] * 3
    assert loaded.source.endswith(f"weights {loaded.digest}, language de")


def test_the_language_of_the_corpus_is_the_default_and_auto_detects(models: Path) -> None:
    usual = load_recogniser(str(models / "several"), "cpu", None, "pl")
    assert usual.language == "pl"
    detecting = load_recogniser(str(models / "several"), "cpu", "auto", "pl")
    assert detecting.source.endswith(", language detected")
    together = detecting.transcribe(CLIPS)
    assert {one.language for one in together} <= {"de", "en", "pl"}
    assert together == [detecting.transcribe([clip])[0] for clip in CLIPS]
    assert load_recogniser(str(models / "several"), "cpu").language is None


@pytest.mark.parametrize(
    ("model", "language", "message"),
    [
        ("several", "dee", "no language of --transcribe .* named 'dee'. Did you mean 'de'. Valid: de, en, pl"),
        ("english", "de", "knows English alone; the language here is 'de'"),
        ("plain", "de", "--language de has no effect: .* takes no language"),
    ],
)
def test_a_language_that_a_model_does_not_know_is_refused(
    models: Path, model: str, language: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        load_recogniser(str(models / model), "cpu", language)


def test_a_model_without_languages_takes_any_corpus(models: Path) -> None:
    assert "language" not in load_recogniser(str(models / "plain"), "cpu", None, "de").source
    english = load_recogniser(str(models / "english"), "cpu", None, "en")
    assert "language" not in english.source
    assert len(english.transcribe(CLIPS)) == 3


def test_what_is_doubtful_is_not_kept(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = load_recogniser(str(models / "several"), "cpu", "de")
    monkeypatch.setattr(recogniser, "doubt", lambda *about: "it repeats itself")
    assert [(one.text, one.doubt) for one in loaded.transcribe(CLIPS)] == [("", "it repeats itself")] * 3


def test_a_detected_language_is_recorded_with_the_text_and_doubts_are_listed(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = load_recogniser(str(models / "several"), "cpu", "auto")
    recognised = {
        0.0: recogniser.Recognised(text="guten Tag", language="de"),
        1.0: recogniser.Recognised(text="", language="en", doubt="7 words in 0.2 s"),
        2.0: recogniser.Recognised(text="good day", language="en"),
    }
    rows = tuple(
        Utterance(id=id, audio=f"{id}.wav", audio_digest=f"{n:032d}", seconds=1.0) for n, id in enumerate("abc")
    )
    manifest = Manifest(corpus="x", reader="x-1", utterances=rows)
    calls: list[int] = []

    def transcribe(self: recogniser.Recogniser, waveforms: list[np.ndarray]) -> list[recogniser.Recognised]:
        calls.append(len(waveforms))
        return [recognised[float(clip[0])] for clip in waveforms]

    monkeypatch.setattr(recogniser.Recogniser, "transcribe", transcribe)
    monkeypatch.setattr(
        "emofuse.extract.asr.transcribe.load",
        lambda path, *about: np.array([float("abc".index(path.stem))], np.float32),
    )
    transcripts = Transcripts(store=tmp_path / "x.h5", recogniser=loaded)
    done, wordless, count = transcripts.transcribe(manifest, tmp_path, quiet=True)
    assert count == 3
    assert {u.id: u.text_source for u in done.utterances if u.text} == {
        "a": f"{loaded.source}: de",
        "c": f"{loaded.source}: en",
    }
    assert [(e.id, e.reason) for e in wordless] == [
        ("b", f"text: no words were recognised by {loaded.source} (not kept: 7 words in 0.2 s)")
    ]
    # What an interrupted call has noted and what a store holds is not recognised again.
    again, wordless_again, count = transcripts.transcribe(manifest, tmp_path, quiet=True)
    assert (again, wordless_again, count) == (done, wordless, 0)
    stored = Transcripts(
        store=tmp_path / "y.h5",
        recogniser=loaded,
        stored={u.id: u for u in done.utterances if u.text_kind == ASR},
        wordless={f"{1:032d}": wordless[0].reason},
    )
    assert stored.transcribe(stored.with_stored_texts(manifest), tmp_path, quiet=True) == (done, wordless, 0)
    assert calls == [3]
    stored.recogniser = None
    assert stored.source == loaded.source


def test_a_language_without_a_recogniser_is_refused() -> None:
    with pytest.raises(UsageError, match="language='de' has no effect"):
        config_check(ExtractConfig(dataset="emodb", encoders=("logmel",), language="de"))


def config_check(config: ExtractConfig) -> None:
    from emofuse.common.problems import Problems

    problems = Problems()
    config.check(problems)
    problems.raise_all()
