"""Whether an encoder was trained on test utterances: the share of listed ids at which a corpus counts as the same."""

from __future__ import annotations

import pytest
import train_samples as samples

from emofuse.manifests.folds.cross_validation import build_folds
from emofuse.train.resolve.leaks.leakage import find_leaks

FOLDS = build_folds(samples.protocol(), samples.utterances(), "validation")


@pytest.mark.parametrize(("listed", "refused"), [(7, False), (8, True), (9, True)])
def test_half_of_the_test_ids_under_another_corpus_name_is_a_leak(listed: int, refused: bool) -> None:
    fold = FOLDS[1]
    assert len(fold.test) == 16
    entry = {"corpus": "other", "ids": [u.id for u in fold.test[:listed]], "labels": True}
    refusals, remarks = find_leaks("bert", {"fitted_on": entry}, "tiny", [fold])
    assert bool(refusals) == refused
    assert remarks == []


def test_one_test_id_under_the_same_corpus_name_is_a_leak() -> None:
    entry = {"corpus": "tiny", "ids": [FOLDS[0].test[0].id], "labels": True}
    refusals, _ = find_leaks("bert", {"fitted_on": entry}, "tiny", FOLDS)
    assert refusals == [
        f"fold 1 (1): the encoder of 'bert' was fitted on 1 of 16 test utterances, with their labels: "
        f"{FOLDS[0].test[0].id}"
    ]
