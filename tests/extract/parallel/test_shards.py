"""The same work dealt to processes that know nothing of each other comes to the same store."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_speech_models as speech
from click.testing import CliRunner, Result
from extract_samples import OWN, corpus, put_wav  # noqa: F401
from hypothesis import given
from hypothesis import strategies as st
from shard_samples import same

from emofuse.extract.commands.extract import extract
from emofuse.extract.plan import batching, budget
from emofuse.extract.plan.batching import deal, plan_batches
from emofuse.store import FeatureStore
from emofuse.store.commands.store import store as store_command

HUBERT = ("--encoder", "hubert", "--weights", "hubert", "--dtype", "fp32", "--device", "cpu")
SIZES = st.dictionaries(st.text(min_size=1, max_size=4), st.integers(1, 500), max_size=60)


@pytest.fixture
def here(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Path:  # noqa: F811
    monkeypatch.chdir(corpus)
    (corpus / "hubert").mkdir()
    speech.save(corpus / "hubert", "hubert")
    # Three clips or so in each batch, whose values depend on the company in the last bits.
    monkeypatch.setattr(budget, "USUAL", {"cpu": {"audio": 4.0, "text": 15.0}})
    monkeypatch.setattr(batching, "PADDING", 1.0)
    return corpus


def run(*words: str) -> Result:
    return CliRunner().invoke(extract, [*OWN, *words, "--quiet"])


def merge(*words: str) -> Result:
    return CliRunner().invoke(store_command, ["merge", *words])


@given(sizes=SIZES, most=st.integers(1, 900), count=st.integers(1, 7), data=st.data())
def test_whole_batches_planned_again_are_the_same_batches(
    sizes: dict[str, int], most: int, count: int, data: st.DataObject
) -> None:
    for share in deal(plan_batches(sizes, most, 8), sizes, count):
        kept = data.draw(st.lists(st.sampled_from(share), unique_by=tuple)) if share else []
        again = plan_batches({id: sizes[id] for batch in kept for id in batch}, most, 8)
        assert sorted(again) == sorted(kept)


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("of", [2, 5])
def test_shards_become_the_store_that_one_process_makes(of: int) -> None:
    words = (*HUBERT, "--encoder", "hashed", "--views", "frames,mean")
    assert run(*words).exit_code == 0
    for number in range(1, of + 1):
        done = run(*words, "--store", "all.h5", "--shard", f"{number}/{of}")
        assert done.exit_code == 0, done.output
    written = sorted(str(path) for path in Path().glob("all.shard-*.h5"))
    assert written[0] == f"all.shard-1-of-{of}.h5"
    assert not Path("all.h5").exists()
    done = merge("all.h5", *written)
    assert done.exit_code == 0, done.output
    same("own.h5", "all.h5")
    with FeatureStore("all.h5") as store:
        assert all("shard" not in f.provenance for f in store.features.values())
    assert "nothing to do" in run(*words, "--store", "all.h5").output


@pytest.mark.usefixtures("here")
def test_a_shard_that_is_missing_is_named_and_filled() -> None:
    assert run(*HUBERT).exit_code == 0
    for number in (1, 3):
        assert run(*HUBERT, "--store", "all.h5", "--shard", f"{number}/3").exit_code == 0
    done = merge("all.h5", "all.shard-1-of-3.h5", "all.shard-3-of-3.h5")
    assert "these shards are not among the stores: 2" in done.output
    filled = run(*HUBERT, "--store", "all.h5")
    assert filled.exit_code == 0, filled.output
    same("own.h5", "all.h5")


@pytest.mark.usefixtures("here")
def test_a_shard_leaves_out_what_the_store_has() -> None:
    assert run(*HUBERT).exit_code == 0
    put_wav(Path("own/c8.wav"), 0.3, seed=8)
    with Path("own/own.csv").open("a") as file:
        file.write("c8,c8.wav,one more,sad,s0,0\n")
    outputs = [run(*HUBERT, "--shard", f"{n}/3").output for n in (1, 2, 3)]
    assert sum("nothing falls to shard" in output for output in outputs) == 2
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
def test_shares_of_several_budgets_stay_apart_when_memory_brings_them_to_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from test_extract_passes import crowded

    assert run(*HUBERT, "--limit", "1", "--budget", "2.5").exit_code == 0
    assert run(*HUBERT, "--limit", "1", "--views", "mean", "--budget", "5").exit_code == 0
    crowded(monkeypatch, int(2.5 * 16000))
    for number in 1, 2:
        done = run(*HUBERT, "--views", "frames,mean", "--shard", f"{number}/2")
        assert done.exit_code == 0, done.output
    assert merge("own.h5", "own.h5", "own.shard-1-of-2.h5", "own.shard-2-of-2.h5", "--prefer-first").exit_code == 0
    with FeatureStore("own.h5") as store:
        assert [len(store.feature(name).ids) for name in ("hubert", "hubert-mean")] == [8, 8]


@pytest.mark.usefixtures("here")
def test_a_shard_extracted_again_by_another_budget_holds_what_falls_to_it_now() -> None:
    for number, seconds in (1, "600"), (1, "4"), (2, "4"):
        assert run(*HUBERT, "--shard", f"{number}/2", "--budget", seconds).exit_code == 0
    done = merge("own.h5", "own.shard-1-of-2.h5", "own.shard-2-of-2.h5", "--prefer-first")
    assert done.exit_code == 0, done.output
    with FeatureStore("own.h5") as store:
        assert len(store.feature("hubert").ids) == 8


@pytest.mark.usefixtures("here")
def test_what_was_excluded_or_never_asked_for_is_not_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    from test_extract_passes import crowded

    assert run("--encoder", "hashed").exit_code == 0
    with monkeypatch.context() as patched:
        crowded(patched, int(1.5 * 16000))  # the longest of these six has 1.6 s
        codes = [run(*HUBERT, "--shard", f"{number}/2", "--limit", "6").exit_code for number in (1, 2)]
    assert 1 in codes, "a clip does not fit"
    done = merge("own.h5", "own.h5", "own.shard-1-of-2.h5", "own.shard-2-of-2.h5")
    assert done.exit_code == 0, done.output


@pytest.mark.usefixtures("here")
def test_shards_that_were_dealt_otherwise_do_not_pass_for_the_whole() -> None:
    for number, seconds in (1, "4"), (2, "2.5"):
        assert run("--encoder", "logmel", "--shard", f"{number}/2", "--budget", seconds).exit_code == 0
    shards = ["own.shard-1-of-2.h5", "own.shard-2-of-2.h5"]
    done = merge("own.h5", *shards)
    assert done.exit_code == 2
    assert f"{shards[0]} was dealt by batches of 4.0, {shards[1]} by batches of 2.5" in done.output
    assert not Path("own.h5").exists()
    Path(shards[1]).unlink()
    assert run("--encoder", "logmel", "--shard", "2/2", "--budget", "4", "--limit", "4").exit_code == 0
    done = merge("own.h5", *shards)
    assert done.exit_code == 1
    assert "utterances are in none of the shards" in done.output


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--shard", "0/3"), "1/3 to 3/3"),
        (("--shard", "4/3"), "1/3 to 3/3"),
        (("--shard", "three"), "1/16 to 16/16"),
        (("--budget", "nan"), "nan is no length of a batch"),
        (("--budget", "inf"), "inf is no length of a batch"),
        (("--shard", "1/2", "--workers", "2"), "--shard and --workers exclude each other"),
        (("--workers", "2", "--device", "gpu"), "no device 'gpu'; valid: auto, cpu, cuda"),
        (("--shard", "1/2", "--transcribe", "somewhere"), "transcribe first"),
    ],
)
def test_wrong_use(words: tuple[str, ...], said: str) -> None:
    done = run("--encoder", "logmel", *words)
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.usefixtures("here")
def test_a_shard_goes_on_with_the_budget_that_memory_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    from test_extract_passes import crowded

    sizes = crowded(monkeypatch, 3 * 16000)
    assert run(*HUBERT, "--shard", "1/2").exit_code == 0
    with FeatureStore("own.shard-1-of-2.h5") as store:
        halved = store.feature("hubert").provenance["batch_budget"]
    assert halved < 4.0
    Path("own.shard-1-of-2.h5").rename("own.shard-1-of-2.h5.hubert.part")
    sizes.clear()
    again = run(*HUBERT, "--shard", "1/2")
    assert again.exit_code == 0
    assert "do not fit" not in again.output
