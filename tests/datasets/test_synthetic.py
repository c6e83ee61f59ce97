"""The synthetic corpus: its design is exact, and its hidden variables can be recovered from audio and text."""

from __future__ import annotations

import itertools
import wave
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emofuse.common.errors import UsageError
from emofuse.datasets.reading import synthetic_voice as voice
from emofuse.datasets.registry import read_corpus
from emofuse.datasets.synthetic import (
    CLASSES,
    IRONIC,
    SPEAKERS,
    UTTERANCES,
    VAGUE,
    best_scores,
    design,
    write_synthetic,
)
from emofuse.manifests import protocol_files
from emofuse.manifests.schema import Manifest

INVERTED = {"good": "bad", "bad": "good"}
Row = Mapping[str, str]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Manifest, Path]:
    root = tmp_path_factory.mktemp("synthetic")
    write_synthetic(root)
    return read_corpus("synthetic", root)


def samples(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (16000, 1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


# the design


def joint() -> dict[tuple[str, str, bool, str], float]:
    """The probability of every (arousal, wording, irony, label), written down from the corpus's description."""
    table: dict[tuple[str, str, bool, str], float] = Counter()
    for (arousal, wording), ironic in itertools.product(CLASSES, (True, False)):
        p = 0.25 * (IRONIC if ironic else 1 - IRONIC)
        clear = CLASSES[arousal, INVERTED[wording] if ironic else wording]
        table[arousal, wording, ironic, clear] += p * (1 - VAGUE)
        for label in CLASSES.values():
            table[arousal, wording, ironic, label] += p * VAGUE / 4
    return table


def bayes(seen: Callable[[str, str, bool], object]) -> float:
    """UA of the classifier that picks the most probable label given its inputs; ties are split evenly."""
    by_view: dict[object, Counter[str]] = {}
    for (arousal, wording, ironic, label), p in joint().items():
        by_view.setdefault(seen(arousal, wording, ironic), Counter())[label] += p
    hit: Counter[str] = Counter()
    for view in by_view.values():
        best = [label for label, p in view.items() if p > max(view.values()) - 1e-12]
        for label in best:
            hit[label] += view[label] / len(best)
    mass = Counter[str]()
    for (*_, label), p in joint().items():
        mass[label] += p
    return float(np.mean([hit[label] / mass[label] for label in CLASSES.values()]))


@pytest.mark.parametrize(
    ("modality", "seen"),
    [
        ("audio", lambda arousal, wording, ironic: (arousal, ironic)),
        ("text", lambda arousal, wording, ironic: wording),
        ("both", lambda arousal, wording, ironic: (arousal, wording, ironic)),
    ],
)
def test_best_scores_are_those_of_the_bayes_classifier(modality: str, seen: Callable[..., object]) -> None:
    assert best_scores()[modality] == pytest.approx(bayes(seen), abs=1e-12)


def best_additive_score() -> float:
    """The best possible UA of a fusion that adds a score from the audio and one from the text, without interaction."""
    clear = 1 - IRONIC / 2
    return clear * (1 - VAGUE) + VAGUE / len(CLASSES)


def test_best_additive_score_is_the_best_of_all_sums() -> None:
    """Polarity from a(irony) + b(wording) > 0, every sign pattern tried; arousal is given by the audio."""
    table = joint()
    best = 0.0
    for a, b, c in itertools.product(np.linspace(-2, 2, 9), repeat=3):
        score = {(True, "good"): a + b, (True, "bad"): a + c, (False, "good"): b, (False, "bad"): c}
        hit: Counter[str] = Counter()
        for (arousal, wording, ironic, label), p in table.items():
            hit[label] += p * (CLASSES[arousal, "good" if score[ironic, wording] > 0 else "bad"] == label)
        best = max(best, sum(hit.values()))
    assert best_additive_score() == pytest.approx(best, abs=1e-12)


def test_fusion_improves_the_score_and_interaction_improves_it_further() -> None:
    best = best_scores()
    assert max(best["audio"], best["text"]) + 0.3 < best_additive_score() < best["both"] - 0.1 < 0.9


@pytest.mark.parametrize(
    ("rule", "share"),
    [
        (lambda r: CLASSES[r["arousal"], r["wording"] if r["irony"] == "no" else INVERTED[r["wording"]]], "both"),
        (lambda r: CLASSES["high", r["wording"]], "text"),
        (lambda r: CLASSES["low", r["wording"]], "text"),
    ],
)
def test_the_shares_hold_exactly_at_full_size(rule: Callable[[Row], str], share: str) -> None:
    rows = design()
    assert np.mean([rule(r) == r["label"] for r in rows]) == pytest.approx(best_scores()[share], abs=1e-12)


def test_audio_rules_hit_the_stated_score_on_average() -> None:
    rows = design()
    hits = [np.mean([CLASSES[r["arousal"], p] == r["label"] for r in rows]) for p in ("good", "bad")]
    assert np.mean(hits) == pytest.approx(best_scores()["audio"], abs=1e-12)


def test_hidden_variables_are_balanced_and_independent() -> None:
    rows = design()
    cells = Counter((r["arousal"], r["wording"], r["irony"]) for r in rows)
    assert {n for (*_, irony), n in cells.items() if irony == "yes"} == {UTTERANCES // 4 * IRONIC}
    assert {n for (*_, irony), n in cells.items() if irony == "no"} == {UTTERANCES // 4 * (1 - IRONIC)}
    vague = [r for r in rows if r["vague"] == "yes"]
    assert len(vague) == UTTERANCES * VAGUE
    assert sum(r["irony"] == "yes" for r in vague) == len(vague) * IRONIC


def test_words_reveal_the_wording_and_nothing_else() -> None:
    pairs = {(r["text"].split()[k], r["wording"]) for r in design() for k in range(len(r["text"].split()))}
    polar = [w for w, n in Counter(word for word, _ in pairs).items() if n == 1]
    assert all(any(word in polar for word in r["text"].split()) for r in design())


def test_synthetic4_counts_and_sessions_hold_two_speakers() -> None:
    rows = design()
    assert {(r["session"], r["speaker"]) for r in rows} == {(s[1], s) for s in SPEAKERS}
    assert len({r["id"] for r in rows}) == UTTERANCES
    for dialogue in {r["dialogue"] for r in rows}:
        turns = [r for r in rows if r["dialogue"] == dialogue]
        assert [int(r["turn"]) for r in turns] == list(range(16))
        assert [r["speaker"][-1] for r in turns] == ["a", "b"] * 8


@pytest.mark.parametrize("utterances", [1, 8, 50, 96])
def test_any_number_of_utterances(utterances: int) -> None:
    rows = design(utterances=utterances)
    assert len({r["id"] for r in rows}) == utterances


def test_zero_utterances_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="of 0 utterances cannot be made"):
        write_synthetic(tmp_path, utterances=0)


# the corpus on disk


def test_it_is_read_back_as_designed(corpus: tuple[Manifest, Path]) -> None:
    manifest, root = corpus
    assert [(u.id, u.text, u.label, u.speaker, u.session, str(u.turn)) for u in manifest.utterances] == [
        (r["id"], r["text"], r["label"], r["speaker"], r["session"], r["turn"]) for r in design()
    ]
    assert protocol_files.load("synthetic4").differences(list(manifest.utterances)) == []
    assert manifest.excluded == ()
    assert all((root / str(u.audio)).is_file() for u in manifest.utterances)


def test_clips_are_short_and_neither_clipped_nor_silent(corpus: tuple[Manifest, Path]) -> None:
    manifest, root = corpus
    for u in manifest.utterances[::7]:
        x = samples(root / str(u.audio))
        assert 0.8 <= len(x) / 16000 <= 1.81
        assert 0.01 < np.sqrt(np.mean(x**2)) < 0.3
        assert np.mean(np.abs(x) > 0.999) < 0.001


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_ones(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        write_synthetic(tmp_path / name, seed, utterances=8)
    names = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(names) == 9
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)
    assert not any((tmp_path / "a" / n).read_bytes() == (tmp_path / "c" / n).read_bytes() for n in names)


def test_a_clip_does_not_depend_on_the_others_of_its_batch(corpus: tuple[Manifest, Path]) -> None:
    deliveries = [
        voice.Delivery(pitch=120.0, tract=1.0, high=bool(n % 2), ironic=n > 2, noise_db=-55.0, seed=(n,))
        for n in range(5)
    ]
    together = voice.speak(deliveries)
    for delivery, clip in zip(deliveries, together, strict=True):
        assert np.array_equal(voice.speak([delivery])[0], clip)


def test_spectral_peaks_of_the_resonator_cascade_are_its_formants() -> None:
    """An impulse through fixed formants: the spectrum's peaks are the formants."""
    steps = 40
    impulse = np.zeros(steps * voice.STEP)
    impulse[0] = 1.0
    formants = np.tile([500.0, 1500.0, 2500.0, 3500.0], (steps, 1))
    (response,) = voice._resonate([impulse], [formants])
    spectrum = np.abs(np.fft.rfft(response))
    hertz = np.fft.rfftfreq(len(response), 1 / voice.SAMPLE_RATE)
    peaks = [hertz[k] for k in range(1, len(hertz) - 1) if spectrum[k - 1] < spectrum[k] > spectrum[k + 1]]
    assert np.allclose([p for p in peaks if p < 4000], [500, 1500, 2500, 3500], atol=30)
    assert spectrum[0] == pytest.approx(1.0, rel=0.01)


def statistics(x: np.ndarray) -> np.ndarray:
    """Mean and deviation of 18 log bands, and how the last third differs from the rest."""
    frames = np.lib.stride_tricks.sliding_window_view(x, 400)[::160] * np.hanning(400)
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    edges = np.unique(np.geomspace(2, 257, 20).astype(int))
    bands = np.log(1e-8 + np.stack([power[:, a:b].sum(1) for a, b in itertools.pairwise(edges)], axis=1))
    late = len(bands) * 2 // 3
    return np.concatenate([bands.mean(0), bands.std(0), bands[late:].mean(0) - bands[:late].mean(0), [len(bands)]])


@pytest.fixture(scope="module")
def audio_statistics(corpus: tuple[Manifest, Path]) -> np.ndarray:
    manifest, root = corpus
    return np.stack([statistics(samples(root / str(u.audio))) for u in manifest.utterances])


def held_out_ua(x: np.ndarray, y: np.ndarray, session: np.ndarray) -> float:
    """UA of a logistic regression, leave one session out."""
    scores = []
    for s in np.unique(session):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500, class_weight="balanced"))
        model.fit(x[session != s], y[session != s])
        scores.append(balanced_accuracy_score(y[session == s], model.predict(x[session == s])))
    return float(np.mean(scores))


@pytest.mark.parametrize(
    ("hidden", "least", "most"),
    [("arousal", 0.95, 1.0), ("irony", 0.9, 1.0), ("wording", 0.4, 0.6), ("vague", 0.35, 0.65)],
)
def test_audio_reveals_arousal_and_irony_and_nothing_else(
    hidden: str, least: float, most: float, corpus: tuple[Manifest, Path], audio_statistics: np.ndarray
) -> None:
    manifest, _ = corpus
    y = np.array([str(u.extra[hidden]) for u in manifest.utterances])
    session = np.array([str(u.session) for u in manifest.utterances])
    assert least <= held_out_ua(audio_statistics, y, session) <= most


def test_one_modality_stays_within_its_best_score(corpus: tuple[Manifest, Path], audio_statistics: np.ndarray) -> None:
    manifest, _ = corpus
    label = np.array([str(u.label) for u in manifest.utterances])
    session = np.array([str(u.session) for u in manifest.utterances])
    vocabulary = sorted({w for u in manifest.utterances for w in str(u.text).split()})
    words = np.array([[str(u.text).split().count(w) for w in vocabulary] for u in manifest.utterances], dtype=float)
    margin = 3 * np.sqrt(0.25 / len(manifest))
    for modality, x in (("audio", audio_statistics), ("text", words)):
        assert held_out_ua(x, label, session) < best_scores()[modality] + margin
    assert held_out_ua(np.hstack([audio_statistics, words]), label, session) < best_additive_score() + margin
