"""`emofuse.extract.extract` does what the command does, with the same options, defaults and errors."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extract_samples import OWN, corpus
from extract_samples import extract as run_command

import emofuse.extract
from emofuse.common.errors import DONE, EXCLUDED, EmofuseError, SeveralProblemsError, UnknownNameError, UsageError
from emofuse.datasets.registry import CORPORA
from emofuse.extract import api
from emofuse.extract.commands.extract import extract as command
from emofuse.extract.commands.options import DATASETS
from emofuse.extract.plan.config import ExtractConfig, ExtractOptions
from emofuse.store import FeatureStore
from emofuse.train import FitConfig

__all__ = ["corpus"]


@pytest.fixture
def options(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, Any]:
    monkeypatch.chdir(corpus)
    return {"dataset": "custom", "root": "own", "manifest": "own/own.csv", "store": "own.h5", "quiet": True}


def test_keywords_config_and_command_have_the_same_options_and_defaults() -> None:
    config = {f.name: f.default for f in fields(ExtractConfig)}
    assert ExtractOptions.__required_keys__ | ExtractOptions.__optional_keys__ == set(config)
    assert ExtractOptions.__required_keys__ == {name for name, default in config.items() if default is MISSING}
    parameters = {p.name: p for p in command.params}
    # What is no option of the work itself: Python's `quiet` mutes one call, and the command's is that of every command.
    assert set(parameters) - {"config", "version", "verbose"} == set(config)
    del config["quiet"]
    for name, default in config.items():
        assert parameters[name].required == (default is MISSING)
        if default is not MISSING:
            # click has a marker of its own for an absent default, and None for an absent flag.
            given = command.make_context("extract", ["--dataset", "x", "--encoder", "y"]).params[name]
            assert given == default, name


def test_the_help_names_every_corpus() -> None:
    assert sorted(DATASETS.rstrip(".").split(", ")) == sorted(CORPORA.names())


@pytest.mark.usefixtures("corpus")
def test_the_store_is_the_commands_and_comes_back_open(options: dict[str, Any]) -> None:
    assert run_command(Path(), *OWN[:-1], "command.h5", "--encoder", "logmel").returncode == 0
    with emofuse.extract.extract(**options, encoders=["logmel"]) as ours, FeatureStore(Path("command.h5")) as theirs:
        assert ours.path == Path("own.h5")
        assert ours.manifest == theirs.manifest
        mine, other = ours.feature("logmel"), theirs.feature("logmel")
        assert mine.fingerprint == other.fingerprint
        np.testing.assert_array_equal(mine.read(mine.ids).values, other.read(other.ids).values)
    config = ExtractConfig(**{**options, "encoders": "logmel"})
    with emofuse.extract.extract(config) as again:
        assert list(again.features) == ["logmel"]


def test_a_run_reports_what_the_command_prints_and_what_it_excluded(options: dict[str, Any]) -> None:
    Path("own/c1.wav").write_bytes(b"RIFF nonsense")
    lines: list[str] = []
    result = emofuse.extract.run_extraction(ExtractConfig(**options, encoders=("logmel", "hashed")), lines.append)
    assert [(o.feature, o.encoded, o.stored) for o in result.outcomes] == [("logmel", 7, 7), ("hashed", 8, 8)]
    assert [item.id for item in result.excluded] == ["c1"]
    assert (result.exit_code, result.store) == (EXCLUDED, Path("own.h5"))
    assert [line.split(" in ")[0] for line in lines] == ["logmel: 7 utterances encoded", "hashed: 8 utterances encoded"]


def test_a_dry_run_reports_and_writes_nothing(options: dict[str, Any]) -> None:
    lines: list[str] = []
    config = ExtractConfig(**options, encoders=("logmel",), dry_run=True)
    result = emofuse.extract.run_extraction(config, lines.append)
    assert (result.outcomes, result.exit_code) == ((), DONE)
    assert "8 utterances" in lines[0]
    assert not list(Path().glob("*.h5*"))
    with pytest.raises(UsageError, match="a dry run writes no store"):
        emofuse.extract.extract(config)


def test_a_shard_is_opened_as_a_store_of_its_own(options: dict[str, Any]) -> None:
    with emofuse.extract.extract(**options, encoders=["logmel"], shard="1/2") as shard:
        assert shard.path == Path("own.shard-1-of-2.h5")
        assert 0 < len(shard.feature("logmel").ids) < 8


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"dataset": "iemocup"}, ["no dataset named 'iemocup'. Did you mean 'iemocap'?"]),
    ({"encoders": ["hubrt"]}, ["no encoder named 'hubrt'. Did you mean 'hubert'?"]),
    ({"encoders": []}, ["no encoder is named; valid: "]),
    ({"precision": "fp8"}, ["precision is 'fp8', expected 'auto', 'fp32', 'bf16' or 'fp16'"]),
    (
        {"dtype": "float16", "meld_clips": "new"},
        ["dtype is 'float16', expected 'auto', 'fp16'", "meld_clips is 'new', expected 'plain'"],
    ),
    ({"budget": 0.5}, ["budget is 0.5, expected seconds of audio, or tokens"]),
    (
        {"budget": float("inf"), "limit": 0},
        ["budget is inf", "limit is 0, expected a whole number, 1 or more"],
    ),
    ({"budget": "20", "workers": 1.5}, ["budget is '20'", "workers is 1.5"]),
    ({"encoders": ["logmel", "hashed"], "name": "x"}, ["name belongs to one encoder, not to logmel, hashed"]),
    ({"shard": "0/3", "workers": 2}, ["shard is '0/3'", "shard and workers exclude each other"]),
    ({"encoders": 5}, ["encoders is 5, expected names such as ['logmel', 'bert']"]),
    ({"encoders": None, "dataset": "x"}, ["encoders is None, expected names", "no dataset named 'x'"]),
    ({"encoders": ["logmel", 5]}, ["encoders is ('logmel', 5), expected names"]),
    ({"dataset": 3, "root": 3}, ["dataset is 3, expected text", "root is 3, expected a path or None"]),
    ({"quiet": "yes", "no_text": "no"}, ["quiet is 'yes', expected True or False", "no_text is 'no', expected True"]),
    (
        {"views": ["frames", None], "layers": 1.5},
        ["views is ['frames', None], expected text", "layers is 1.5"],
    ),
    ({"views": ["frames", "frames"]}, ["views is 'frames,frames', which names a view twice"]),
    ({"limit": True, "say": 5}, ["limit is True, expected a whole number", "say is 5, expected a function"]),
    ({"encoder": "logmel", "limit": "3"}, ["no option named 'encoder'. Did you mean 'encoders'?", "limit is '3'"]),
    ({"root": "nowhere"}, ["--root nowhere does not exist"]),
    ({"device": "gpu", "root": "nowhere"}, ["--root nowhere does not exist", "no device 'gpu'"]),
]


@pytest.mark.parametrize(("wrong", "messages"), WRONG)
def test_wrong_options_are_all_named_in_one_error(
    options: dict[str, Any], wrong: dict[str, Any], messages: list[str]
) -> None:
    with pytest.raises(EmofuseError) as error:
        emofuse.extract.extract(**{"encoders": ["logmel"], **options, **wrong})
    assert isinstance(error.value, SeveralProblemsError) == (len(messages) > 1)
    for message in messages:
        assert message in str(error.value)
    assert not list(Path().glob("*.h5*"))


def test_unknown_and_missing_keywords_are_named() -> None:
    with pytest.raises(UnknownNameError, match=r"no option named 'encoder'\. Did you mean 'encoders'"):
        emofuse.extract.extract(dataset="emodb", encoders=["logmel"], encoder="logmel")
    with pytest.raises(SeveralProblemsError) as error:
        emofuse.extract.extract(rooot="here")
    assert len(error.value.problems) == 3
    with pytest.raises(UsageError, match="not both"):
        emofuse.extract.extract(ExtractConfig(dataset="emodb", encoders=("logmel",)), root="here")


@pytest.mark.parametrize("config", ["synthetic", FitConfig(store="x.h5", model="smcn")])
def test_an_argument_without_a_name_is_a_config(config: Any) -> None:
    message = r"^the argument without a name is .*, expected an ExtractConfig; pass options by name$"
    for function in (emofuse.extract.extract, emofuse.extract.run_extraction):
        with pytest.raises(UsageError, match=message):
            function(config)


def test_layers_and_views_may_be_sequences() -> None:
    config = ExtractConfig(dataset="emodb", encoders="hubert", layers=[6, 9], views=("frames", "mean"))
    assert (config.layers, config.views) == ("6,9", "frames,mean")
    assert ExtractConfig(dataset="emodb", encoders=["hubert"], layers=6).layers == "6"


def test_a_config_takes_strings_for_paths_and_one_encoder() -> None:
    config = ExtractConfig(dataset="emodb", encoders="logmel", root="here", store="x.h5")
    assert (config.encoders, config.root, config.store_path) == (("logmel",), Path("here"), Path("x.h5"))
    assert ExtractConfig(dataset="emodb", encoders=()).store_path == Path("cache/emodb.h5")


def test_the_package_is_light_and_an_unknown_name_is_an_attribute_error() -> None:
    code = "import sys, emofuse.extract; print([m for m in ('numpy', 'h5py', 'torch', 'click') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
    with pytest.raises(AttributeError, match=r"module 'emofuse.extract' has no attribute 'extrat'"):
        emofuse.extract.extrat  # noqa: B018
    for name in emofuse.extract.__all__:
        assert callable(getattr(emofuse.extract, name))


def test_the_example_in_the_docstring_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(api)
    assert (result.failed, result.attempted > 3) == (0, True)
