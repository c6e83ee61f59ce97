"""`--window clip`: a feature of its own, offered by the encoders that have a choice."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_speech_models as speech

from emofuse.common.errors import UsageError
from emofuse.common.problems import Problems
from emofuse.extract.plan.build_jobs import build_jobs
from emofuse.extract.plan.config import ExtractConfig
from emofuse.manifests.schema import Manifest, Utterance


def checked(**options: object) -> ExtractConfig:
    config, problems = ExtractConfig(dataset="emodb", **options), Problems()  # type: ignore[arg-type]
    config.check(problems)
    problems.raise_all()
    return config


def test_the_feature_is_named_after_its_window_and_can_be_made_again(tmp_path: Path) -> None:
    speech.save(tmp_path, "whisper")
    manifest = Manifest(corpus="x", reader="x-1", utterances=(Utterance(id="a", audio="a.wav"),))
    config = checked(encoders=("whisper", "logmel"), weights=str(tmp_path), window="clip")
    jobs = build_jobs(config, manifest, tmp_path, device="cpu", recogniser=None)
    assert [job.feature for job in jobs] == ["whisper-clip", "logmel"]
    assert [job.recipe.options.window for job in jobs] == ["clip", None]
    assert jobs[0].provenance["encoder_options"] == ["--weights", str(tmp_path), "--window", "clip"]
    assert jobs[1].provenance["encoder_options"] == []


@pytest.mark.parametrize(("encoders", "window"), [(("logmel", "hubert"), "clip"), (("whisper",), "5")])
def test_a_window_that_no_encoder_has_is_refused(encoders: tuple[str, ...], window: str) -> None:
    with pytest.raises(UsageError, match=f"window='{window}' has no effect on .*; valid: clip for encoder whisper"):
        checked(encoders=encoders, window=window)
