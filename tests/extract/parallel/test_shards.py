"""The shards of independent processes give the store of a single process."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_speech_models as speech
from click.testing import CliRunner, Result
from extract_samples import OWN, corpus, limit_memory, put_wav  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from shard_samples import assert_same_store

from emofuse.extract.commands.extract import extract
from emofuse.extract.plan import batching, budget
from emofuse.extract.plan.batching import distribute, plan_batches
from emofuse.store import FeatureStore
from emofuse.store.commands.store import store as store_command

HUBERT = ("--encoder", "hubert", "--weights", "hubert", "--dtype", "fp32", "--device", "cpu")
SIZES = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(1, 500), max_size=60)


@pytest.fixture
def here(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    monkeypatch.chdir(corpus)
    (corpus / "hubert").mkdir()
    speech.save(corpus / "hubert", "hubert")
    # Three clips or so in each batch, whose values depend on the batch in the last bits.
    monkeypatch.setattr(budget, "DEFAULT_BUDGETS", {"cpu": {"audio": 4.0, "text": 15.0}})
    monkeypatch.setattr(batching, "MAX_PADDING", 1.0)
    return corpus


def run(*options: str) -> Result:
    return CliRunner().invoke(extract, [*OWN, *options, "--quiet"])


def merge(*options: str) -> Result:
    return CliRunner().invoke(store_command, ["merge", *options])


@given(sizes=SIZES, most=st.integers(1, 900), count=st.integers(1, 7), data=st.data())
def test_whole_batches_planned_again_are_the_same_batches(
    sizes: dict[str, int], most: int, count: int, data: st.DataObject
) -> None:
    for share in distribute(plan_batches(sizes, most, 8), sizes, count):
        kept = data.draw(st.lists(st.sampled_from(share), unique_by=tuple)) if share else []
        again = plan_batches({id: sizes[id] for batch in kept for id in batch}, most, 8)
        assert sorted(again) == sorted(kept)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("of", [2, 5])
def test_shards_become_the_store_of_a_single_process(of: int) -> None:
    options = (*HUBERT, "--encoder", "hashed", "--views", "frames,mean")
    assert run(*options).exit_code == 0
    for number in range(1, of + 1):
        done = run(*options, "--store", "all.h5", "--shard", f"{number}/{of}")
        assert done.exit_code == 0, done.output
    written = sorted(str(path) for path in Path().glob("all.shard-*.h5"))
    assert written[0] == f"all.shard-1-of-{of}.h5"
    assert not Path("all.h5").exists()
    done = merge("all.h5", *written)
    assert done.exit_code == 0, done.output
    assert_same_store("own.h5", "all.h5")
    with FeatureStore("all.h5") as store:
        assert all("shard" not in f.provenance for f in store.features.values())
        assert all((f.encoder_seconds() or 0) > 0 for f in store.features.values())
    assert "nothing to do" in run(*options, "--store", "all.h5").output


@pytest.mark.usefixtures("here")
def test_a_shard_that_is_missing_is_named_and_filled() -> None:
    assert run(*HUBERT).exit_code == 0
    for number in (1, 3):
        assert run(*HUBERT, "--store", "all.h5", "--shard", f"{number}/3").exit_code == 0
    done = merge("all.h5", "all.shard-1-of-3.h5", "all.shard-3-of-3.h5")
    assert "these shards are not among the stores: 2" in done.output
    filled = run(*HUBERT, "--store", "all.h5")
    assert filled.exit_code == 0, filled.output
    assert_same_store("own.h5", "all.h5")


@pytest.mark.usefixtures("here")
def test_a_shard_leaves_out_what_the_store_has() -> None:
    assert run(*HUBERT).exit_code == 0
    put_wav(Path("own/c8.wav"), 0.3, seed=8)
    with Path("own/own.csv").open("a") as file:
        file.write("c8,c8.wav,one more,sad,s0,0\n")
    outputs = [run(*HUBERT, "--shard", f"{n}/3").output for n in (1, 2, 3)]
    assert sum("is empty" in output for output in outputs) == 2
    written = [str(path) for path in Path().glob("own.shard-*.h5")]
    assert len(written) == 1
    assert merge("own.h5", "own.h5", *written).exit_code == 0
    with FeatureStore("own.h5") as store:
        assert len(store.feature("hubert").ids) == 9


@pytest.mark.usefixtures("here")
def test_shards_measure_a_reduced_precision_on_the_same_utterances() -> None:
    found = []
    for more in ("--shard", "1/2"), ("--shard", "2/2"), ():
        assert run(*HUBERT, "--precision", "bf16", *more).exit_code == 0
    for name in ("own.h5", "own.shard-1-of-2.h5", "own.shard-2-of-2.h5"):
        with FeatureStore(name) as store:
            found.append(store.feature("hubert").provenance["precision_difference"])
    assert found[0]["utterances"] == 8
    assert found == [found[0]] * 3


@pytest.mark.usefixtures("here")
def test_shares_by_several_budgets_stay_apart_when_memory_makes_the_budgets_equal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(*HUBERT, "--limit", "1", "--budget", "2.5").exit_code == 0
    assert run(*HUBERT, "--limit", "1", "--views", "mean", "--budget", "5").exit_code == 0
    limit_memory(monkeypatch, int(2.5 * 16000))
    for number in 1, 2:
        done = run(*HUBERT, "--views", "frames,mean", "--shard", f"{number}/2")
        assert done.exit_code == 0, done.output
    assert merge("own.h5", "own.h5", "own.shard-1-of-2.h5", "own.shard-2-of-2.h5", "--prefer-first").exit_code == 0
    with FeatureStore("own.h5") as store:
        assert [len(store.feature(name).ids) for name in ("hubert", "hubert-mean")] == [8, 8]


@pytest.mark.usefixtures("here")
def test_a_shard_extracted_again_by_another_budget_has_its_new_utterances() -> None:
    for number, seconds in (1, "600"), (1, "4"), (2, "4"):
        assert run(*HUBERT, "--shard", f"{number}/2", "--budget", seconds).exit_code == 0
    done = merge("own.h5", "own.shard-1-of-2.h5", "own.shard-2-of-2.h5", "--prefer-first")
    assert done.exit_code == 0, done.output
    with FeatureStore("own.h5") as store:
        assert len(store.feature("hubert").ids) == 8


@pytest.mark.usefixtures("here")
def test_utterances_that_were_excluded_or_not_asked_for_are_not_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--encoder", "hashed").exit_code == 0
    with monkeypatch.context() as patched:
        limit_memory(patched, int(1.5 * 16000))  # the longest of these six has 1.6 s
        codes = [run(*HUBERT, "--shard", f"{number}/2", "--limit", "6").exit_code for number in (1, 2)]
    assert 1 in codes, "a clip does not fit"
    done = merge("own.h5", "own.h5", "own.shard-1-of-2.h5", "own.shard-2-of-2.h5")
    assert done.exit_code == 0, done.output


@pytest.mark.usefixtures("here")
def test_shards_by_different_budgets_are_not_a_complete_set() -> None:
    for number, seconds in (1, "4"), (2, "2.5"):
        assert run("--encoder", "logmel", "--shard", f"{number}/2", "--budget", seconds).exit_code == 0
    shards = ["own.shard-1-of-2.h5", "own.shard-2-of-2.h5"]
    done = merge("own.h5", *shards)
    assert done.exit_code == 2
    assert f"{shards[0]} was made with batches of 4.0, {shards[1]} with batches of 2.5" in done.output
    assert not Path("own.h5").exists()
    Path(shards[1]).unlink()
    assert run("--encoder", "logmel", "--shard", "2/2", "--budget", "4", "--limit", "4").exit_code == 0
    done = merge("own.h5", *shards)
    assert done.exit_code == 1
    assert "utterances are in none of the shards" in done.output


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--shard", "0/3"), "1/3 to 3/3"),
        (("--shard", "4/3"), "1/3 to 3/3"),
        (("--shard", "three"), "1/16 to 16/16"),
        (("--budget", "nan"), "nan is not a valid batch budget"),
        (("--budget", "inf"), "inf is not a valid batch budget"),
        (("--shard", "1/2", "--workers", "2"), "shard and workers exclude each other"),
        (("--workers", "2", "--device", "gpu"), "no device 'gpu'; valid: auto, cpu, cuda"),
        (("--shard", "1/2", "--transcribe", "somewhere"), "transcribe first"),
    ],
)
def test_wrong_use(options: tuple[str, ...], message: str) -> None:
    done = run("--encoder", "logmel", *options)
    assert done.exit_code == 2
    assert message in done.output


@pytest.mark.usefixtures("here")
def test_a_shard_resumes_with_the_budget_that_memory_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = limit_memory(monkeypatch, 3 * 16000)
    assert run(*HUBERT, "--shard", "1/2").exit_code == 0
    with FeatureStore("own.shard-1-of-2.h5") as store:
        halved = store.feature("hubert").provenance["batch_budget"]
    assert halved < 4.0
    Path("own.shard-1-of-2.h5").rename("own.shard-1-of-2.h5.hubert.part")
    sizes.clear()
    again = run(*HUBERT, "--shard", "1/2")
    assert again.exit_code == 0
    assert "do not fit" not in again.output
