"""The options of `report`: natural forms, and every wrong one named in one error."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from emofuse.common.errors import SeveralProblemsError, UnknownNameError, UsageError
from emofuse.common.location import Url
from emofuse.report import ReportConfig, ReportOptions, report
from emofuse.report.commands.report import report as command


def silent(line: str) -> None:
    """Print nothing."""


def test_the_options_of_the_command_are_those_of_python() -> None:
    names = {f.name for f in fields(ReportConfig)}
    assert {str(p.name) for p in command.params} - {"quiet", "verbose"} == names == set(get_type_hints(ReportOptions))
    config, parsed = ReportConfig(path="a"), command.make_context("report", ["a"]).params
    assert {name: getattr(config, name) for name in names} == {**parsed}


def test_natural_forms_are_converted() -> None:
    config = ReportConfig(
        path="runs/a", store="b.h5", audio_root=Path("c"), out="d.html", weights=Path("e"), format="html"
    )
    assert (config.path, config.store, config.audio_root) == (Path("runs/a"), (Path("b.h5"),), ("c",))
    assert (config.out, config.weights) == (Path("d.html"), "e")
    assert ReportConfig(path="a", store=["s3://b/c.h5", "d.h5"]).store == (Url("s3://b/c.h5"), Path("d.h5"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "option 'path' is missing, such as path='runs/iemocap4-smcn-1a2b3c4d'"),
        ({"path": 3}, "path is 3, expected the folder of a run, a folder of runs, or a Run"),
        ({"path": "a", "format": "gif"}, "format is 'gif', expected 'html', 'svg', 'png', 'pdf', 'csv', 'md' or"),
        ({"path": "a", "embed_audio": True}, "embed_audio has no effect without audio_root"),
        ({"path": "a", "open": True, "format": "svg"}, "open has no effect with format svg"),
        ({"path": "a", "store": [3]}, "expected paths or URLs of stores"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(options: dict[str, Any], expected: str) -> None:
    with pytest.raises(UsageError, match=expected.replace("(", r"\(")):
        report(**options, say=silent)


def test_all_wrong_options_come_at_once() -> None:
    with pytest.raises(SeveralProblemsError) as raised:
        report(path=3, format="gif", open="no", say=silent)  # type: ignore[arg-type]
    assert len(raised.value.problems) == 3
    with pytest.raises(UnknownNameError, match="Did you mean 'audio_root'"):
        report(path="a", audio_roots="b", say=silent)  # type: ignore[call-arg]
