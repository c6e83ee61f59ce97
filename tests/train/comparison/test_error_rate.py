"""Under no difference, the test that decides errs at most 5 times in 100, with utterances correlated in speakers."""

from __future__ import annotations

import importlib.util
import math
import sys

import pytest
from paths import ROOT

SIMULATIONS = 200
PATH = ROOT / "benchmarks" / "compare_error_rate.py"


@pytest.mark.slow
@pytest.mark.parametrize(("speakers", "utterances"), [(5, 34), (10, 34), (24, 30)])
def test_equally_good_models_are_called_different_at_most_5_times_in_100(speakers: int, utterances: int) -> None:
    spec = importlib.util.spec_from_file_location("compare_error_rate", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.rates(speakers, utterances, SIMULATIONS, permutations=199, resamples=200)
    bound = 0.05 + 2 * math.sqrt(0.05 * 0.95 / SIMULATIONS)
    assert found["permutation by speaker"] <= bound
    assert found["McNemar"] > bound
    assert found["interval by utterance"] > bound
    # With five speakers no p is below 0.0625, so that no difference can be shown.
    assert found["power"] == 0 if speakers == 5 else found["power"] > 0.5
