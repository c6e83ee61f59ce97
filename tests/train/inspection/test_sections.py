"""The sections of real small runs: what they show, and one sentence where they cannot."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import joint_samples as joint
import numpy as np
import pytest
import train_samples as samples
from train_samples import config, quietly

from emofuse.common.errors import DataError, UnknownNameError
from emofuse.common.page.blocks import Chart, Choice, Examples, Page, Text
from emofuse.common.page.render import render
from emofuse.store import FeatureData, FeatureStore
from emofuse.train.inspection.open_fold import open_fold, utterances_that_fit
from emofuse.train.inspection.predicted_fold import predicted_fold
from emofuse.train.inspection.readers import hooks_of
from emofuse.train.inspection.request import InspectionRequest
from emofuse.train.inspection.sections import model_sections
from emofuse.train.runs.finished_run import Run

pytestmark = pytest.mark.charts

TEXTS = {u.id: f"<b>{u.id} said</b>" for u in samples.utterances()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of several models on one store."""
    path = tmp_path_factory.mktemp("inspection")
    samples.store(path / "tiny.h5")
    samples.protocol_file(path)
    quietly(config(path, "smcn", "smcn", folds="2,3", steps=10))
    quietly(config(path, "text", "text", folds="1", seeds=2, steps=4))
    quietly(config(path, "linear", "linear", audio="logmel", text="bert", folds="1", steps=4))
    quietly(config(path, "layers", "weighted-layers", audio="hubert", folds="1,2", steps=4))
    return path


def shown(folder, name, **options):
    options = {"methods": ("tsne",)} | options
    return {s.name: s for s in model_sections(Run.open(folder / name), InspectionRequest(**options))}


def pieces_of(folder):
    """A tokenizer that gives as many pieces as the store has: a mark, then the text, then nothing."""
    with FeatureStore(folder / "tiny.h5") as store:
        feature = store["bert"]
        lengths = {TEXTS[id]: int(feature.lengths[feature.position[id]]) for id in TEXTS}
    return lambda texts: [[(0, 0), (0, len(t)), *[(0, 0)] * (lengths[t] - 2)] for t in texts]


def charts(blocks):
    for block in blocks:
        if isinstance(block, Chart):
            yield block
        elif isinstance(block, Choice):
            yield from (chart for _, chart in block.options)
        elif isinstance(block, Examples):
            yield from (chart for example in block.examples for chart in example.charts)


def examples(section):
    (block,) = [b for b in section.blocks if isinstance(b, Examples)]
    return block.examples


def reason(folder, name, **options):
    ((name, section),) = shown(folder, name, **options).items()
    assert name == "models"
    (text,) = section.blocks
    return text.lines[0]


def test_smcn_shows_a_map_words_and_time(folder):
    found = shown(folder, "smcn", texts=TEXTS, pieces=pieces_of(folder), energy=lambda id: np.arange(7.0))
    assert list(found) == ["map", "weights"]
    names = [chart.name for section in found.values() for chart in charts(section.blocks)]
    assert len(set(names)) == len(names)
    assert [n for n in names if n.startswith("map")] == [
        "map-tsne-class", "map-tsne-speaker", "map-tsne-outcome", "map-tsne-prediction"]  # fmt: skip
    cards = examples(found["weights"])
    assert all([c.title for c in card.charts] == ["Over time", "Over words"] for card in cards)
    assert all("".join(text for text, _ in card.text) == TEXTS[card.id] for card in cards)
    assert all(sum(weight for _, weight in card.text) > 0 for card in cards)
    html = render(Page(title="x", sections=list(found.values())))
    assert "<b>s" not in html
    assert "&lt;b&gt;s" in html
    assert "Each of the 2 models" in html
    assert "not an explanation" in html


def test_heat_is_that_of_the_model(folder):
    found = shown(folder, "smcn", texts=TEXTS, pieces=pieces_of(folder), fold=3)
    side = predicted_fold(Run.open(folder / "smcn"), fold=3)
    fold = open_fold(side, range(len(side.tested)))
    weights = fold.observe(hooks_of("smcn", fold.model.model)).weights["intra-modal branch of text"]
    at = {t.id: n for n, t in enumerate(fold.tested)}
    for card in examples(found["weights"]):
        of_pieces = weights[at[card.id]]  # the second piece is the whole text, so both words have its weight
        assert card.text[0] == (f"<b>{card.id}", pytest.approx(min(1, of_pieces[1] * len(of_pieces) / 4), rel=1e-4))


def test_fewer_utterances_are_loaded_where_their_features_do_not_fit_into_memory(folder):
    side = predicted_fold(Run.open(folder / "smcn"), fold=3)
    values = open_fold(side, range(len(side.tested))).data.modalities.values()
    needed = sum(modality.values.numel() * modality.values.element_size() for modality in values)
    assert utterances_that_fit(side, needed) == len(side.tested)
    assert utterances_that_fit(side, needed // 2) == len(side.tested) // 2
    assert utterances_that_fit(side, 1) == 1


def test_the_shown_are_the_most_confident_right_and_wrong_of_each_class(folder):
    rows = [r for r in samples.rows(folder / "smcn" / "predictions.csv") if r["fold"] == "2"]
    expected = []
    for name in samples.CLASSES:
        for right in (True, False):
            of = [r for r in rows if r["label"] == name and (r["prediction"] == name) == right]
            expected += [max(of, key=lambda r: float(r["p_" + r["prediction"]]))["id"]] if of else []
    assert [card.id for card in examples(shown(folder, "smcn")["weights"])] == expected
    few = [card.id for card in examples(shown(folder, "smcn", examples=3)["weights"])]
    assert len(few) <= 3
    assert set(few) <= set(expected)


def test_without_a_tokenizer_weights_are_over_numbers_of_pieces(folder):
    found = shown(folder, "text", texts=TEXTS, seed=1)["weights"]
    assert "tokenizer is not at hand" in found.blocks[0].lines[-1]
    cards = examples(found)
    assert [[c.title for c in card.charts] for card in cards] == [["Over word pieces"]] * len(cards)
    assert all(card.text == [(TEXTS[card.id], 0.0)] for card in cards)
    assert found.lead == "Read from the model of fold 1 (seed 1) while it classified its test side."


def test_a_tokenizer_of_another_feature_is_not_believed(folder):
    found = shown(folder, "text", texts=TEXTS, pieces=lambda texts: [[(0, 1)]] * len(texts))["weights"]
    assert "another number of pieces than the store has" in found.blocks[0].lines[-1]
    assert all(card.charts[0].title == "Over word pieces" for card in examples(found))


def test_withheld_texts_are_not_shown(folder):
    found = shown(folder, "text", pieces=pieces_of(folder))["weights"]
    assert all(card.text == [] for card in examples(found))
    assert " said" not in render(Page(title="x", sections=[found])).replace(".said", "")


def test_a_model_without_weights_says_so(folder):
    found = shown(folder, "linear", texts=TEXTS)
    assert list(found) == ["map", "weights"]
    (text,) = found["weights"].blocks
    assert isinstance(text, Text)
    assert text.lines[0].startswith("It is linear")


def test_weighted_layers_shows_the_layers_of_all_folds(folder):
    (_, chart) = shown(folder, "layers")["weights"].blocks
    assert chart.name == "layer-weights-hubert"
    assert "The mean over 2 models" in chart.caption
    assert "3 layers" in chart.alt


def test_an_unknown_fold_or_seed_is_refused(folder):
    with pytest.raises(UnknownNameError, match=r"fold.*2.*3"):
        shown(folder, "smcn", fold=1)
    with pytest.raises(UnknownNameError, match="seed"):
        shown(folder, "smcn", seed=7)


def test_evaluations_and_runs_without_folds_are_one_sentence(folder):
    run = Run.open(folder / "smcn")
    of = replace(run, metrics=run.metrics | {"evaluation": {"run": "runs/a"}})
    assert "see the page of runs/a" in model_sections(of, InspectionRequest())[0].blocks[0].lines[0]
    (folder / "none").mkdir()
    shutil.copy(folder / "smcn" / "config.json", folder / "none")
    text = (folder / "none" / "config.json").read_text().replace('"folds": [\n      2,\n      3\n    ]', '"folds": []')
    (folder / "none" / "config.json").write_text(text)
    final = replace(run, folder=folder / "none")
    assert "no models that were tested" in model_sections(final, InspectionRequest())[0].blocks[0].lines[0]


def test_stores_that_are_gone_or_changed_are_one_sentence(folder, tmp_path):
    run = tmp_path / "run"
    samples.store(tmp_path / "tiny.h5")
    samples.protocol_file(tmp_path)
    quietly(config(tmp_path, "run", "text", folds="1", steps=2))
    (tmp_path / "tiny.h5").rename(tmp_path / "moved.h5")
    assert f"the store {tmp_path / 'tiny.h5'} is not there" in reason(tmp_path, "run")
    of = samples.utterances()

    def with_text(seed, **fingerprint):
        arrays = samples.frames(of, 1, dimension=5, seed=seed)
        made = FeatureData(modality="text", arrays=arrays, encoder="bert", fingerprint=fingerprint)
        return {"bert": made}

    samples.store(tmp_path / "tiny.h5", features=with_text(1))
    assert "other probabilities than the run recorded for" in reason(tmp_path, "run")
    (tmp_path / "tiny.h5").unlink()
    samples.store(tmp_path / "tiny.h5", features=with_text(0, pool=2))
    assert "extracted again with other settings" in reason(tmp_path, "run")
    (tmp_path / "tiny.h5").unlink()
    samples.store(tmp_path / "tiny.h5", of[20:], features={"bert": FeatureData(
        modality="text", arrays=samples.frames(of[20:], 1, dimension=5), encoder="bert")})  # fmt: skip
    assert "no values of 16 tested utterances" in reason(tmp_path, "run")
    (run / "fold_1" / "model.safetensors").write_bytes(b"x")
    with pytest.raises(DataError, match="altered"):
        reason(tmp_path, "run")


def test_a_fold_of_three_utterances(tmp_path):
    of = samples.utterances()
    members = (*of[:3], *of[16:])
    text = FeatureData(modality="text", arrays=samples.frames(members, 1, dimension=5), encoder="bert")
    samples.store(tmp_path / "tiny.h5", members, features={"bert": text})
    samples.protocol_file(tmp_path)
    quietly(config(tmp_path, "short", "text", folds="1", steps=2))
    found = shown(tmp_path, "short", texts=TEXTS)
    assert "its 3 test utterances" in found["map"].blocks[0].lines[1]
    assert len(examples(found["weights"])) <= 3
    assert "speaker" not in [name for name, _ in found["map"].blocks[-1].options]  # there is only one
    render(Page(title="x", sections=list(found.values())))


def test_dealt_modalities_are_not_shown(folder):
    quietly(config(folder, "dealt", "text", folds="1", steps=2, shuffle=("text",)))
    assert "dealt to other utterances" in reason(folder, "dealt")


def test_a_run_on_two_stores(tmp_path):
    for corpus in ("big", "small"):
        joint.store(tmp_path, corpus)
    joint.protocol(tmp_path)
    run = quietly(joint.config(tmp_path, out=tmp_path / "run", steps=2, folds="1"))
    ids = {u["id"].partition(":")[0] for u in Run.open(run).utterances}
    assert ids == {"big", "small"}
    found = shown(tmp_path, "run")
    assert list(found) == ["map", "weights"]
    assert examples(found["weights"])


def test_a_feature_of_each_fold(tmp_path):
    of = samples.utterances()
    features = {
        f"bert-finetuned@{n}": FeatureData(
            modality="text",
            arrays=samples.frames(of, 1, dimension=5, seed=n),
            encoder="bert",
            fingerprint={"weights": f"of fold {n}"},
            provenance={"fitted_on": [], "fold": {"number": n, "name": str(n), "by": "session",
                                                  "validated": str(n % 4 + 1), "protocol": "tiny4"}},
        )
        for n in (1, 2, 3, 4)
    }  # fmt: skip
    samples.store(tmp_path / "tiny.h5", features=features)
    samples.protocol_file(tmp_path)
    quietly(config(tmp_path, "run", "text", text="bert-finetuned", folds="2,4", steps=2))
    assert list(shown(tmp_path, "run", fold=4)) == ["map", "weights"]  # else its probabilities would differ
