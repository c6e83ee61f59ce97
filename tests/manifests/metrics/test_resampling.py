"""What a bootstrap draws for each kind of protocol, and that its intervals are scipy's."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from emofuse.manifests import protocol_files
from emofuse.manifests.metrics.resampling import ResamplingUnits, named_units, resampling_units
from emofuse.manifests.metrics.scores import confusion, intervals, scores_of


def rows(**columns: Any) -> list[dict[str, str]]:
    """Rows of utterances.csv, from a list for each column."""
    length = len(next(iter(columns.values())))
    ids = columns.pop("id", [f"u{i}" for i in range(length)])
    return [{"id": id} | {k: v[i] for k, v in columns.items()} for i, id in enumerate(ids)]


def found(protocol: str, of: list[dict[str, str]]) -> ResamplingUnits:
    """The units under a built-in protocol."""
    return resampling_units(asdict(protocol_files.load(protocol)), of)


def spread(values: str, count: int = 40) -> list[str]:
    """The letters of a text in turn."""
    return [values[i % len(values)] for i in range(count)]


SPEAKERS = spread("abcdefghij")
DIALOGUES = [f"d{i // 2}" for i in range(40)]


@pytest.mark.parametrize(
    ("protocol", "of", "expected"),
    [
        ("emodb4", rows(speaker=SPEAKERS), "10 speakers"),
        ("ravdess8", rows(speaker=SPEAKERS, dialogue=[""] * 40), "10 speakers"),
        ("iemocap4", rows(session=spread("12345"), speaker=SPEAKERS, dialogue=DIALOGUES), "5 sessions"),
        ("iemocap4", rows(session=spread("12"), dialogue=DIALOGUES), "2 sessions, then dialogues of each"),
        ("savee4", rows(speaker=spread("abcd")), "4 speakers, then utterances of each"),
        ("savee4-sentences", rows(speaker=spread("abcd"), sentence=SPEAKERS), "10 sentences"),
        ("meld7", rows(speaker=SPEAKERS, dialogue=DIALOGUES), "20 dialogues"),
        ("meld7", rows(speaker=SPEAKERS, dialogue=spread("de")), "2 dialogues, then utterances of each"),
        ("goemotions", rows(dialogue=[""] * 40), "40 utterances"),
        ("emodb4", rows(speaker=["", *SPEAKERS[1:]]), "40 utterances"),
        ("emodb4", rows(speaker=["", *SPEAKERS[1:]], dialogue=DIALOGUES), "20 dialogues"),
        ("meld7", rows(dialogue=["d"] * 40), "1 dialogue, then utterances of each"),
        ("goemotions", rows(dialogue=["d"] * 40), "40 utterances"),
        ("goemotions", rows(dialogue=[f"d{i}" for i in range(40)]), "40 utterances"),
    ],
)
def test_what_the_protocol_holds_out_is_drawn(protocol: str, of: Any, expected: str) -> None:
    units = found(protocol, of)
    assert units.description == expected
    assert units.trusted == (units.count >= 5)


def test_units_of_a_joint_task_carry_their_corpus() -> None:
    corpora = spread(["iemocap", "savee"])  # type: ignore[arg-type]
    named = [f"{c}:{s}" for c, s in zip(corpora, spread("123"), strict=True)]
    units = found("joint4", rows(id=[f"{c}:u{i}" for i, c in enumerate(corpora)], session=named, speaker=named))
    assert units.description == "6 held-out groups"


def test_speakers_are_drawn_of_a_corpus_that_is_only_tested() -> None:
    ids = [f"ravdess:{i}" for i in range(40)]
    assert found("joint4-ravdess", rows(id=ids, speaker=SPEAKERS)).description == "10 speakers"
    assert found("joint4-goemotions", rows(id=ids, speaker=[""] * 40)).description == "40 utterances"


def test_numbers_follow_the_order_of_the_rows() -> None:
    units = found("emodb4", rows(speaker=["b", "a", "b", "c", "d", "e"]))
    assert units.outer.tolist() == [0, 1, 0, 2, 3, 4]


def test_all_utterances_of_a_unit_are_drawn_equally_often() -> None:
    units = found("emodb4", rows(speaker=SPEAKERS))
    weights = units.unit_weights(50, np.random.default_rng(0))[:, units.smallest]
    assert weights.shape == (50, 40)
    assert (weights.sum(1) == 40).all()
    assert (weights[:, :10] == weights[:, 10:20]).all()


def test_two_stages_draw_units_and_then_members_inside_each() -> None:
    units = found("savee4", rows(speaker=spread("abcd")))
    weights = units.unit_weights(4000, np.random.default_rng(0))[:, units.smallest].reshape(4000, 10, 4)
    # Each of four draws takes one speaker and ten of its ten utterances: whole multiples of ten for each speaker.
    assert (weights.sum(1) % 10 == 0).all()
    assert (weights.sum((1, 2)) == 40).all()
    assert weights.mean(0) == pytest.approx(np.ones((10, 4)), abs=0.12)
    # Var = Var of the speaker's draws (4 * 1/4 * 3/4) + what drawing inside adds (1 - 1/10 for each of its draws).
    assert weights[:, 0, 0].var() == pytest.approx(0.75 + 0.9, rel=0.12)


def test_two_stages_are_wider_than_utterances_and_single_units_still_have_a_width() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 200)
    predicted = np.where(rng.random(200) < np.repeat([0.5, 0.6, 0.8, 0.9], 50), labels, 1 - labels)

    def width(units: ResamplingUnits) -> float:
        low, high = intervals(labels, predicted, 2, units)["wa"]
        return high - low

    four = found("savee4", rows(speaker=[f"s{i // 50}" for i in range(200)]))
    assert width(four) > 1.5 * width(named_units(range(200)))
    one = found("savee4", rows(speaker=["s"] * 200))
    assert width(one) == pytest.approx(width(named_units(range(200))), rel=0.1)


@pytest.mark.parametrize("metric", ["wa", "ua", "wf1", "macro_f1"])
def test_one_stage_intervals_are_scipys(metric: str) -> None:
    rng = np.random.default_rng(2)
    speaker = np.repeat(np.arange(24), 30)
    labels = rng.integers(0, 4, 720)
    accuracy = np.clip(rng.normal(0.6, 0.12, 24), 0, 1)[speaker]
    predicted = np.where(rng.random(720) < accuracy, labels, rng.integers(0, 4, 720))
    matrices = np.array([confusion(labels[speaker == s], predicted[speaker == s], 4) for s in range(24)])

    def statistic(drawn: Any, axis: int = -1) -> Any:
        of = np.moveaxis(matrices[drawn], axis if axis >= 0 else drawn.ndim - 1, 0).sum(0)
        return scores_of(of.reshape(-1, 4, 4))[metric].reshape(drawn.shape[:-1])

    ours = intervals(labels, predicted, 4, named_units(speaker.tolist()))[metric]
    for method, tolerance in (("percentile", 0.003), ("BCa", 0.006)):
        theirs = bootstrap((np.arange(24),), statistic, n_resamples=9999, method=method, rng=3).confidence_interval
        assert ours == pytest.approx(tuple(theirs), abs=tolerance)
