"""`fit` from Python: the options of the command, a finished run as the result, nothing heavy at import."""

from __future__ import annotations

import csv
import doctest
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, Required, get_args, get_origin, get_type_hints

import pytest
import train_samples as samples

import emofuse.train
from emofuse.common.errors import DataError, SeveralProblemsError, UnknownNameError, UsageError
from emofuse.common.location import Url
from emofuse.extract import ExtractConfig
from emofuse.manifests.metrics.scores import METRICS
from emofuse.store import FeatureData, FeatureStore
from emofuse.train import FitConfig, FitOptions, Run, api, fit
from emofuse.train.commands.fit import fit as command
from emofuse.train.resolve.config import MINIMUM

QUICK: dict[str, Any] = {"model": "text", "steps": 2, "folds": "1", "device": "cpu", "threads": 1}


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("api")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    return fit(
        store=str(folder / "tiny.h5"), model="text", protocol=folder / "tiny4.toml", settings={"hidden": 4, "lr": 1e-3},
        steps=2, folds="1,2", seeds=2, device="cpu", threads=1, out=str(folder / "run"), say=silent,
    )  # fmt: skip


def test_a_run_holds_its_folder_its_metrics_and_its_predictions(run: Run, folder: Path) -> None:
    assert run.folder == folder / "run"
    assert run.excluded == ()
    assert set(run.metrics["mean"]) == set(METRICS)
    written = list(csv.DictReader((run.folder / "predictions.csv").open(newline="")))
    assert [{k: str(v) for k, v in row.items() if not k.startswith("p_")} for row in records(run)] == [
        {k: v for k, v in row.items() if not k.startswith("p_")} for row in written
    ]
    first = records(run)[0]
    assert (first["seed"], first["fold"]) == (0, 1)
    assert sum(first[f"p_{c}"] for c in samples.CLASSES) == pytest.approx(1, abs=1e-5)
    assert run.predictions is run.predictions, "read once"


def records(run: Run) -> list[dict[str, Any]]:
    found = run.predictions
    return found if isinstance(found, list) else found.to_dict("records")


def test_predictions_are_a_data_frame_if_pandas_is_installed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas")
    frame = Run.open(run.folder).predictions
    assert isinstance(frame, pandas.DataFrame)
    assert (frame["prediction"] == frame["label"]).mean() == pytest.approx(run.metrics["pooled"]["wa"])
    monkeypatch.setitem(sys.modules, "pandas", None)
    plain = Run.open(run.folder).predictions
    assert plain == frame.to_dict("records")


def test_a_finished_folder_is_opened_again(run: Run) -> None:
    opened = Run.open(str(run.folder))
    assert opened == run
    assert repr(opened) == f"Run(folder={run.folder!r}, excluded=())"


def test_excluded_utterances_are_those_without_a_feature(folder: Path) -> None:
    arrays = dict(list(samples.frames(samples.utterances(), 1).items())[1:])
    store = samples.store(folder / "partial.h5", features={"bert": FeatureData(modality="text", arrays=arrays)})
    run = fit(store=store, protocol=str(folder / "tiny4.toml"), out=folder / "partial", say=silent, **QUICK)
    assert run.excluded == (samples.utterances()[0].id,)
    assert Run.open(run.folder) == run


def test_a_folder_that_is_not_a_finished_run_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"is not a finished run, it has no metrics\.json and no predictions\.csv"):
        Run.open(tmp_path)
    for name in ("config.json", "predictions.csv"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(DataError, match=r"metrics\.json cannot be read"):
        Run.open(tmp_path)


def test_a_config_and_keywords_are_the_same_fit(run: Run, folder: Path) -> None:
    config = FitConfig(
        store=folder / "tiny.h5", model="text", protocol=str(folder / "tiny4.toml"),
        settings=("hidden=4", "lr=0.001"), steps=2, folds="1,2", seeds=2, device="cpu", threads=1, out=run.folder,
    )  # fmt: skip
    lines: list[str] = []
    assert fit(config, say=lines.append) == run
    assert lines[0].startswith("already done")
    with pytest.raises(UsageError, match="pass a FitConfig or options by name, not both"):
        fit(config, model="smcn")  # type: ignore[call-overload]


def test_keywords_may_be_strings_lists_and_mappings() -> None:
    config = FitConfig(
        store=["a.h5", "s3://bucket/b.h5"], model="smcn", test_store="c.h5", score_without="audio",
        settings={"lr": 3e-4, "standardise_audio": "on"}, more_stores="d.h5", runs="elsewhere",
        protocol=Path("p.toml"), folds=[1, 3], jobs="auto",
    )  # fmt: skip
    assert (config.store, config.more_stores) == (Path("a.h5"), (Url("s3://bucket/b.h5"), Path("d.h5")))
    assert (config.test_store, config.runs, config.out) == (Path("c.h5"), Path("elsewhere"), None)
    assert (config.settings, config.score_without) == (("lr=0.0003", "standardise_audio=on"), ("audio",))
    assert (config.protocol, config.folds, config.jobs) == ("p.toml", "1,3", None)
    assert replace(config) == config
    assert FitConfig(store=Path("a.h5"), model="smcn", settings="lr=1", folds=1).settings == ("lr=1",)


def test_an_open_store_is_its_file(folder: Path) -> None:
    with FeatureStore(folder / "tiny.h5") as store:
        config = FitConfig(store=store, model="text", more_stores=store, test_store=store)
        assert (config.store, config.more_stores, config.test_store) == (store.path, (store.path,), store.path)
        config = FitConfig(store=[store, "b.h5"], model="text", more_stores=[store])
        assert (config.store, config.more_stores) == (store.path, (Path("b.h5"), store.path))
        run = fit(store=store, protocol=folder / "tiny4.toml", out=folder / "open", say=silent, **QUICK)
    assert run.folder == folder / "open"


def test_unknown_and_missing_keywords_are_named_together() -> None:
    with pytest.raises(UnknownNameError, match=r"no option named 'modle'\. Did you mean 'model'"):
        fit(store="a.h5", model="smcn", modle="x", say=silent)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match=r"^2 problems:") as wrong:
        fit(steps=3)  # type: ignore[call-overload]
    assert "option 'store' is missing" in str(wrong.value)
    assert "option 'model' is missing" in str(wrong.value)


def wrong_values() -> Iterator[tuple[str, object]]:
    yield from ((name, "nonsense") for name, kind in get_type_hints(FitConfig).items() if "Literal" in str(kind))
    yield from ((name, minimum - 1) for name, minimum in MINIMUM.items())
    yield from (("steps", 2.5), ("epochs", 0), ("epochs", "3"), ("epochs", float("inf")), ("seeds", True))
    yield from (("settings", None), ("settings", 5), ("text", 5), ("runs", None), ("optimism", "yes"), ("folds", None))
    yield from (("folds", 1.5), ("more_stores", 3), ("test_store", 3), ("jobs", "all"), ("score_without", None))
    yield ("shuffle", None)


@pytest.mark.parametrize(("name", "value"), list(wrong_values()))
def test_values_that_the_command_refuses_are_refused_here(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"^{name} is {value!r}"):
        fit(store="a.h5", model="smcn", say=silent, **{name: value})  # type: ignore[call-overload]


def test_all_wrong_values_are_named_together_and_with_what_is_expected() -> None:
    with pytest.raises(SeveralProblemsError) as wrong:
        fit(model=3, folds=[1.5], seeds=0, precision="fp8", text=5, optimism=1, stepz=3)  # type: ignore[call-overload]
    assert wrong.value.problems[0].startswith("no option named 'stepz'. Did you mean 'steps'?")
    assert wrong.value.problems[1:] == (
        "option 'store' is missing, such as store='cache/iemocap.h5'",
        "model is 3, expected text",
        "text is 5, expected a feature's name, a sequence of names, or None",
        "folds is [1.5], expected text such as '1,3', or numbers such as [1, 3]",
        "seeds is 0, expected a whole number, 1 or more",
        "optimism is 1, expected True or False",
        "precision is 'fp8', expected 'fp32', 'tf32' or 'bf16'",
    )
    with pytest.raises(UsageError, match=r"^say is 5, expected a function"):
        fit(store="a.h5", model="smcn", say=5)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match=r"^store is 5, expected a path, a URL or an open FeatureStore"):
        fit(FitConfig(store=5, model="smcn"))  # type: ignore[arg-type]


@pytest.mark.parametrize("config", ["cache/iemocap.h5", ExtractConfig(dataset="emodb", encoders=["logmel"])])
def test_an_argument_without_a_name_is_a_config(config: Any) -> None:
    with pytest.raises(UsageError, match=r"^the argument without a name is .*, expected a FitConfig; pass options by"):
        fit(config)


def test_the_example_in_the_docstring_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(api)
    assert (result.failed, result.attempted > 3) == (0, True)


def test_the_keywords_are_the_fields_of_the_config() -> None:
    required = {f.name for f in fields(FitConfig) if f.default is MISSING}
    assert list(FitOptions.__annotations__) == [f.name for f in fields(FitConfig)]
    hints = get_type_hints(FitOptions, include_extras=True)
    assert {name for name, hint in hints.items() if get_origin(hint) is Required} == required


def test_the_choices_of_the_command_are_those_of_the_config() -> None:
    hints = {
        name: get_args(hint)
        for name, hint in get_type_hints(FitConfig).items()
        if "Literal" in str(hint) and name != "augmented"
    }
    assert set(hints) == {"layers", "combine", "class_weights", "standardise", "select", "calibrate", "precision"}
    options = {p.name: p.type for p in command.params}
    assert {name: tuple(options[name].choices) for name in hints} == hints  # type: ignore[attr-defined]


def test_the_command_has_the_options_and_defaults_of_the_config() -> None:
    """But for `jobs`: a script that starts processes needs a guard, so there it is 1 by default."""
    context = command.make_context("fit", ["--store", "a.h5", "--model", "smcn"])
    options = {k: v for k, v in context.params.items() if k not in ("stores", "space", "trials")}
    defaults = {f.name: f.default for f in fields(FitConfig) if f.name not in ("store", "more_stores", "runs")}
    assert options.pop("model") == "smcn"
    assert defaults.pop("model") is MISSING
    assert (options.pop("jobs"), defaults.pop("jobs")) == (None, 1)
    assert options == defaults


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, emofuse.train\nassert 'torch' not in sys.modules\nprint(*emofuse.train.__all__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == emofuse.train.__all__
    assert {"FitConfig", "FitOptions", "Run", "evaluate", "fit", "verify_run"} <= set(emofuse.train.__all__)
    assert all(hasattr(emofuse.train, name) for name in emofuse.train.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        emofuse.train.fitt  # type: ignore[attr-defined] # noqa: B018
