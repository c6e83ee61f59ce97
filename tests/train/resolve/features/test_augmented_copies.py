"""`fit --augmented`: which copies a plan has, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import joint_samples as joint
import pytest
from click.testing import CliRunner
from copy_samples import UTTERANCES, copy, made_by, store
from train_samples import config, frames, quietly

from emofuse.common.errors import UsageError
from emofuse.manifests.schema import Manifest
from emofuse.store import FeatureData, FeatureStore, write_store
from emofuse.train.commands.fit import fit as fit_command
from emofuse.train.data.loader import Loader
from emofuse.train.dataset import UtteranceDataset
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.features.joined_feature import JoinedFeature
from emofuse.train.resolve.features.joined_store import available_features
from emofuse.train.resolve.fit_plan import FitPlan
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.runs.fit_context import resolved


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("copies")
    store(made, copy(1), copy(2))
    return made


def plan(folder: Path, model: str = "concat", **options: Any) -> FitPlan:
    with FeatureStore(folder / "tiny.h5") as opened:
        return resolve(opened, config(folder, "x", model, **options))


def test_a_number_or_all_copies(folder: Path) -> None:
    names = [[f.name for f in plan(folder, augmented=n).copies] for n in (None, 1, "all")]
    assert names == [[], ["logmel@copy1"], ["logmel@copy1", "logmel@copy2"]]


def test_they_are_in_the_identity_of_the_run_and_leave_others_as_they_were(folder: Path) -> None:
    without, one, two = (plan(folder, augmented=n).identity() for n in (None, 1, 2))
    assert (without.get("augmented"), one["augmented"], two["augmented"]) == (None, 1, 2)
    assert one["copies"]["copy 1"] == {"name": "logmel@copy1", "fingerprint": made_by(1)}
    assert {k: v for k, v in one.items() if k not in ("augmented", "copies")} == without


def test_they_are_never_proposed_nor_taken_as_a_feature(folder: Path) -> None:
    with FeatureStore(folder / "tiny.h5") as opened:
        assert list(available_features(opened)) == ["bert", "hubert", "logmel"]
    with pytest.raises(UsageError, match=r"'logmel@copy1' is an augmented copy, for training only: name 'logmel'"):
        plan(folder, audio="logmel@copy1")
    with pytest.raises(UsageError, match="is an augmented copy"):
        UtteranceDataset(folder / "tiny.h5", ["logmel@copy1"])


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("concat", {"augmented": 3}, "has 2 augmented copies of 'logmel', --augmented needs 3; add them: extract"),
        ("weighted-layers", {"audio": "hubert", "augmented": "all"}, "has 0 augmented copies of 'hubert'"),
        ("text", {"augmented": 1}, "--augmented has no effect: augmented copies are of audio"),
        ("concat", {"augmented": 1, "standardise": "speaker"}, "them: give one of the two"),
        ("concat", {"augmented": 1, "shuffle": "audio"}, "--augmented has no meaning with --shuffle audio"),
    ],
)
def test_what_cannot_be_is_refused(folder: Path, model: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(folder, model, **options)


def test_copies_of_other_settings_are_refused(tmp_path: Path) -> None:
    store(tmp_path, copy(1, fingerprint={**made_by(1), "bands": 40}))
    with pytest.raises(UsageError, match=r"(?s)made with other settings than 'logmel'.*bands: stored 40"):
        plan(tmp_path, augmented=1)


def test_utterances_without_a_copy_train_as_they_are(tmp_path: Path) -> None:
    whole = copy(1)
    store(tmp_path, replace(whole, arrays={id: v for id, v in whole.arrays.items() if not id.startswith("s3")}))
    found = plan(tmp_path, augmented=1)
    assert any("16 training utterances without an augmented copy" in remark for remark in found.remarks)
    assert (quietly(config(tmp_path, "run", augmented=1, folds="1")) / "metrics.json").exists()


def test_copies_of_earlier_audio_are_left_out(tmp_path: Path) -> None:
    store(tmp_path)
    plain = FeatureData(modality="audio", arrays=frames(UTTERANCES, 0), encoder="logmel-smcn", frame_rate=20.0)
    for changed, features in ((None, {"logmel": plain, "logmel@copy1": copy(1)}), ("3", {"logmel": plain})):
        now = tuple(
            replace(u, audio_digest=f"{n + 1000 * (u.session == changed):032d}") for n, u in enumerate(UTTERANCES)
        )
        write_store(tmp_path / "tiny.h5", Manifest(corpus="tiny", reader="tiny-1", utterances=now), features)
    found = plan(tmp_path, "audio", augmented=1)
    assert any("16 training utterances without an augmented copy" in remark for remark in found.remarks)


def test_python_names_a_wrong_number(folder: Path) -> None:
    from emofuse.train import fit

    with pytest.raises(UsageError, match="augmented is 0, expected a whole number, 1 or more, 'all', or None"):
        fit(FitConfig(store=folder / "tiny.h5", model="concat", augmented=0))


def test_the_option_takes_a_number_all_or_nothing(folder: Path) -> None:
    where = ["--store", str(folder / "tiny.h5"), "--protocol", str(folder / "tiny4.toml"), "--model", "linear",
             "--audio", "logmel", "--steps", "4", "--folds", "1", "--no-report"]  # fmt: skip
    for number, (given, line) in enumerate(
        {(): "", ("1",): "1 augmented copy", ("all",): "2 augmented copies"}.items()
    ):
        option = ["--augmented", *given] if number else []
        done = CliRunner().invoke(fit_command, [*where, *option, "--out", str(folder / f"run{number}")])
        assert done.exit_code == 0, done.output
        assert ("training also on" in done.output) == bool(line)
        assert line in done.output
    last = CliRunner().invoke(fit_command, [*where, "--augmented", "--out", str(folder / "last")])
    assert "2 augmented copies" in last.output
    bad = CliRunner().invoke(fit_command, [*where, "--augmented", "0"])
    assert (bad.exit_code, "neither all nor a number" in bad.output) == (2, True)


@pytest.mark.parametrize("huge", [False, True])
def test_a_joint_task_takes_the_copies_of_its_training_stores_alone(tmp_path: Path, huge: bool) -> None:
    for corpus in joint.LABELS:
        features = joint.features(corpus)
        plain = features["logmel"]
        values = {id: frames * 0 + 30_000 for id, frames in plain.arrays.items()}
        # The test store too has copies, which nothing may read.
        arrays = values if corpus == "far" and huge else plain.arrays
        made = replace(plain, arrays=arrays, fingerprint={**plain.fingerprint, **made_by(1)})
        joint.store(tmp_path, corpus, data={**features, "logmel@copy1": made})
    joint.protocol(tmp_path, "far", far=True)
    options: dict[str, Any] = {"test": "far", "augmented": "all", "steps": 4, "report": False}
    with resolved(joint.config(tmp_path, **options)) as found:
        (copies,) = found.copies
        assert isinstance(copies, JoinedFeature)
        assert set(copies.members) == {"big", "small"}
        (fold,) = found.folds
        (buffers,) = Loader(found).copies(fold)
        assert not any(found.utterances[i].id.startswith("far:") for i in buffers.utterances)
    assert (quietly(joint.config(tmp_path, out=tmp_path / "run", **options)) / "metrics.json").exists()


def test_a_joint_task_names_the_store_without_copies(tmp_path: Path) -> None:
    for corpus in ("big", "small"):
        joint.store(tmp_path, corpus)
    joint.protocol(tmp_path)
    with (
        pytest.raises(UsageError, match=r"(?s)big.h5 has 0 augmented copies of 'logmel'.*small.h5 has 0"),
        resolved(joint.config(tmp_path, augmented=1)),
    ):
        pass
