"""The utterances of a task: why some are left out, protocols without counts, splits that are not used."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import train_samples as samples

from emofuse.common.errors import UsageError
from emofuse.manifests.protocol import Protocol
from emofuse.manifests.schema import Excluded
from emofuse.store import FeatureData, FeatureStore
from emofuse.train.api import fit
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.resolve.task_selection import TaskSelection, select_task

UTTERANCES = samples.utterances()
BROKEN = UTTERANCES[5].id
PROTOCOL = samples.protocol()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """One clip could not be decoded (its text is there), one item has nothing usable, one has no label."""
    audio = {i: a for i, a in samples.frames(UTTERANCES, 0).items() if i != BROKEN}
    features = {
        "logmel": FeatureData(modality="audio", arrays=audio),
        "bert": FeatureData(modality="text", arrays=samples.frames(UTTERANCES, 1)),
    }
    excluded = (
        Excluded(id=BROKEN, reason="audio: no frame", modality="audio"),
        Excluded(id="lost", reason="audio: zero bytes", modality="audio"),
        Excluded(id="nameless", reason="no label"),
    )
    of = tuple(replace(u, audio=None) if u.id == BROKEN else u for u in UTTERANCES)
    return samples.store(tmp_path / "s.h5", of, features=features, excluded=excluded)


def task(path: Path, protocol: Protocol = PROTOCOL, allowed: int = 0, *names: str) -> TaskSelection:
    with FeatureStore(path) as store:
        features = {store.features[n].modality: store.features[n] for n in names or ("logmel", "bert")}
        return select_task(store, protocol, features, allowed)


def test_without_expected_counts_what_is_left_out_is_listed_with_its_reason(path: Path) -> None:
    found = task(path)
    assert found.excluded == {BROKEN: "audio: no frame", "lost": "audio: zero bytes"}
    assert len(found.utterances) == found.counted == 63
    assert (found.differences, found.remarks) == ((), ())


def test_a_feature_that_the_model_does_not_use_may_be_missing(path: Path) -> None:
    assert task(path, PROTOCOL, 0, "bert").excluded == {}


def test_fit_continues_without_them_and_lists_them(path: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    asked = FitConfig(
        store=path,
        model="audio",
        protocol=samples.protocol_file(tmp_path),
        steps=1,
        folds="1",
        device="cpu",
        out=tmp_path / "run",
    )
    done = fit(asked, say=lines.append)
    assert done.excluded == (BROKEN, "lost")
    (line,) = [line for line in lines if line.startswith("excluded")]
    assert f"2 utterances without an up-to-date feature: {BROKEN} (audio: no frame), lost (audio: zero bytes)" in line
    assert not any("do not match" in line for line in lines)


def test_allow_missing_has_no_effect_without_expected_counts(path: Path) -> None:
    assert task(path, PROTOCOL, 3).remarks == ("--allow-missing has no effect: the protocol states no counts",)


@pytest.mark.parametrize(
    ("expected", "off"),
    [
        ({"total": 64}, 1),
        ({"total": 70}, 7),
        ({"total": 63, "classes": {"ang": 16, "hap": 15, "neu": 16, "sad": 16}}, 1),
        ({"total": 63, "classes": {"ang": 11, "hap": 20, "neu": 16, "sad": 16}}, 5),
        ({"total": 63, "folds": {"1": 18, "2": 13, "3": 16, "4": 16}}, 3),
        ({"total": 63, "folds": {"1": 15, "2": 16, "3": 16, "5": 16}}, 16),
    ],
    ids=["total", "far total", "only excluded", "classes alone", "folds alone", "another fold"],
)
def test_the_proposed_allow_missing_is_accepted(path: Path, expected: dict[str, Any], off: int) -> None:
    protocol = samples.protocol(expected=expected)
    with pytest.raises(UsageError, match="do not match") as caught:
        task(path, protocol)
    assert str(caught.value).endswith(f"continue with a reduced task: --allow-missing {off}")
    with pytest.raises(UsageError, match=rf"off by {off}, allowed {off - 1}"):
        task(path, protocol, off - 1)
    assert len(task(path, protocol, off).utterances) == 63


def test_the_message_says_why_the_first_one_is_missing(path: Path) -> None:
    expected = rf"without an up-to-date audio feature: 1 \({BROKEN}\); '{BROKEN}' because: audio: no frame"
    with pytest.raises(UsageError, match=expected):
        task(path, samples.protocol(expected={"total": 64}))


def test_a_store_without_one_usable_utterance_is_refused(tmp_path: Path) -> None:
    audio, text = samples.frames(UTTERANCES[:32], 0), samples.frames(UTTERANCES[32:], 1)
    features = {
        "logmel": FeatureData(modality="audio", arrays=audio),
        "bert": FeatureData(modality="text", arrays=text),
    }
    with pytest.raises(UsageError, match="has every feature"):
        task(samples.store(tmp_path / "s.h5", features=features))


def split_store(tmp_path: Path, *splits: str) -> Path:
    of = tuple(replace(u, split=splits[i % len(splits)]) for i, u in enumerate(UTTERANCES))
    samples.protocol_file(tmp_path, samples.TOML.split("[folds]")[0] + '[folds]\nby = "split"\ndisjoint = []\n')
    return samples.store(tmp_path / "s.h5", of)


def output(path: Path, **options: Any) -> str:
    lines: list[str] = []
    defaults = {"protocol": str(path.parent / "tiny4.toml"), "steps": 1, "out": path.parent / "run", "device": "cpu"}
    fit(FitConfig(store=path, model="text", **(defaults | options)), say=lines.append)
    return "\n".join(lines)


def test_a_dev_split_that_is_not_used_is_not_counted(tmp_path: Path) -> None:
    text = output(split_store(tmp_path, "train", "dev", "test", "train"), select="last")
    assert "48 in all" in text
    assert "32/0/16 train/validation/test" in text
    assert "the official dev split, 16 utterances, is not used (--select last)" in text


def test_all_of_an_official_split_is_counted_where_it_is_used(tmp_path: Path) -> None:
    text = output(split_store(tmp_path, "train", "dev", "test", "train"))
    assert "64 in all" in text
    assert "unused" not in text


@pytest.mark.parametrize("select", ["validation", "last"])
def test_unknown_splits_stop_before_anything_is_counted(tmp_path: Path, select: Any) -> None:
    path = split_store(tmp_path, "train", "dev", "test", "extra")
    asked = FitConfig(store=path, model="text", protocol=str(tmp_path / "tiny4.toml"), device="cpu", select=select)
    with (
        FeatureStore(path) as store,
        pytest.raises(UsageError, match=r"16 of 64 utterances .*: extra 16; valid: train"),
    ):
        resolve(store, asked)


def test_a_filter_that_the_store_cannot_satisfy_names_its_keys(path: Path) -> None:
    with pytest.raises(UsageError, match=r"where.scenario: no utterance has 'scenario'; keys: id, label, speaker"):
        task(path, samples.protocol(where={"scenario": "improvised"}))


def test_only_selected_utterances_are_in_the_task(path: Path) -> None:
    found = task(path, samples.protocol(where={"session": ["1", "2", "3"]}))
    assert {u.session for u in found.utterances} == {"1", "2", "3"}
    assert found.counted == 47
