"""How a run folder is claimed, locked, finished and read."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from emofuse.common.disk import run_folder
from emofuse.common.errors import DataError, UsageError

CONFIG = {"run": {"model": "text", "seed": 0, "folds": (1, 2)}, "store": "s.h5"}
CALL = {"device": "cpu"}


def test_a_run_folder_is_named_part_until_it_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "run"
    part = run_folder.claim_run(out, CONFIG, CALL)
    assert part == tmp_path / "deep" / "run.part"
    assert not out.exists()
    run_folder.finish_run(part, out)
    assert json.loads((out / "config.json").read_text())["run"]["model"] == "text"
    assert not part.exists()


def test_an_equal_run_resumes_the_partial_folder_whatever_else_changed(tmp_path: Path) -> None:
    part = run_folder.claim_run(tmp_path / "run", CONFIG, CALL)
    (part / "mark").touch()
    assert run_folder.claim_run(tmp_path / "run", CONFIG | {"store": "moved.h5"}, {"device": "cuda:0"}) == part
    assert (part / "mark").exists()
    assert run_folder.read_json(part / "config.json")["calls"] == [CALL, {"device": "cuda:0"}]


def test_another_run_names_what_differs(tmp_path: Path) -> None:
    run_folder.claim_run(tmp_path / "run", CONFIG, CALL)
    with pytest.raises(UsageError, match="unfinished run with different model, seed;"):
        run_folder.claim_run(tmp_path / "run", {"run": {"model": "audio", "seed": 1, "folds": (1, 2)}}, CALL)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_existing_file_or_folder_is_never_replaced(tmp_path: Path, kind: str) -> None:
    (tmp_path / "run").mkdir() if kind == "folder" else (tmp_path / "run").write_text("mine")
    with pytest.raises(UsageError, match="already exists"):
        run_folder.claim_run(tmp_path / "run", CONFIG, CALL)
    assert (tmp_path / "run").exists()
    assert not (tmp_path / "run.part").exists()


def test_damaged_json_says_which_file_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"half": ')
    with pytest.raises(DataError, match=r"x\.json cannot be read: .*; delete the folder and run again"):
        run_folder.read_json(tmp_path / "x.json")


def deeply_nested() -> bytes:
    return b'{"run": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[]", r"it is not a JSON object, it begins with \[\]"),
        (b"{}", "it has no key run, no calls"),
        (deeply_nested(), "it is nested too deeply"),
        (b"\x80\x02binary", r"it is not UTF-8 text \(byte 0\)"),
        (b"", "Expecting value"),
        (None, "No such file"),
    ],
    ids=["list", "empty object", "deep", "binary", "empty", "missing"],
)
def test_json_that_is_not_a_record_is_one_data_error(tmp_path: Path, content: bytes | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.json cannot be read: {reason}"):
        run_folder.read_json(tmp_path / "x.json", ("run", "calls"))


@pytest.mark.parametrize("name", ["config.json", "predictions.csv"])
def test_a_file_of_unreasonable_size_and_a_pipe_are_not_read(tmp_path: Path, name: str) -> None:
    read = run_folder.read_json if name.endswith("json") else run_folder.read_csv
    with (tmp_path / name).open("wb") as file:
        file.truncate(run_folder.LONGEST + 1)
    with pytest.raises(DataError, match=r"it has 268\.4 MB, expected at most 268\.4 MB"):
        read(tmp_path / name)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="it is not a file"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"id,fold\na,1\nb\n", "line 3 has 1 cells, expected 2"),
        (b"id,fold\na,1,2\n", "line 2 has 3 cells, expected 2"),
        (b"id\na\n", "it has no column fold"),
        (b"id,id\na,b\n", "two columns have the same name"),
        (b"id,fold\na\0,1\n", "it contains zero bytes"),
        (b"\xff\xfe,fold\n", "it is not UTF-8 text"),
        (b'id,fold\n"a,1\n', "line 2: unexpected end of data"),
        (b"", "it has no column id, no fold"),
        (b"id,fold\n" + b"a" * 200_000 + b",1\n", "line 2: field larger than field limit"),
    ],
    ids=["few", "many", "column", "twice", "zero", "encoding", "quote", "empty", "huge cell"],
)
def test_a_damaged_table_is_one_data_error(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.csv cannot be read: {reason}"):
        run_folder.read_csv(tmp_path / "x.csv", ("id", "fold"))


def test_a_config_with_settings_of_another_type_is_damaged(tmp_path: Path) -> None:
    part = run_folder.claim_run(tmp_path / "run", CONFIG, CALL)
    for content in ({"run": [], "calls": []}, {"run": CONFIG["run"], "calls": 3}):
        run_folder.write_json(part / "config.json", content)
        with pytest.raises(DataError, match=r"config\.json is damaged: '(run|calls)' is not a (dict|list)"):
            run_folder.claim_run(tmp_path / "run", CONFIG, CALL)


def test_rows_of_different_keys_share_one_table(tmp_path: Path) -> None:
    run_folder.write_csv(tmp_path / "x.csv", [{"a": 1}, {"a": 2, "b": "with, comma"}])
    assert run_folder.read_csv(tmp_path / "x.csv") == [{"a": "1", "b": ""}, {"a": "2", "b": "with, comma"}]
    assert not list(tmp_path.glob("*.part"))


def test_the_default_folder_depends_on_the_settings_alone() -> None:
    identity: dict[str, Any] = {"protocol": {"name": "iemocap4"}, "model": "smcn", "seed": 0}
    one = run_folder.run_path(Path("runs"), "tiny-concat", identity)
    assert one == run_folder.run_path(Path("runs"), "tiny-concat", dict(reversed(identity.items())))
    assert one != run_folder.run_path(Path("runs"), "tiny-concat", identity | {"seed": 1})
    assert one.parent == Path("runs")
    assert one.name.startswith("tiny-concat-")


def test_a_finished_run_of_the_same_settings_gives_its_metrics(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run_folder.finished_metrics(out, CONFIG["run"]) is None  # type: ignore[arg-type]
    part = run_folder.claim_run(out, CONFIG, CALL)
    run_folder.write_json(part / "metrics.json", {"ua": 0.5})
    run_folder.finish_run(part, out)
    assert run_folder.finished_metrics(out, CONFIG["run"]) == {"ua": 0.5}  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="already exists and is a run with different model, steps; read it"):
        run_folder.finished_metrics(out, {"model": "audio", "seed": 0, "folds": [1, 2], "steps": 3})


@pytest.mark.parametrize("out", [".", "..", "mine"])
def test_a_folder_that_is_not_a_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="already exists; read it, delete it"):
        run_folder.finished_metrics(Path(out), CONFIG["run"])  # type: ignore[arg-type]


def test_a_locked_run_is_refused_to_others_and_free_afterwards(tmp_path: Path) -> None:
    out = tmp_path / "new" / "run"
    with run_folder.run_lock(out):
        expected = rf"another process works in .*run\.part \(host .+, process {os.getpid()}, since .+\)"
        with pytest.raises(UsageError, match=expected), run_folder.run_lock(out):
            pass
        with run_folder.run_lock(out.with_name("other")):
            pass
    with run_folder.run_lock(out):
        pass
    assert list(out.parent.iterdir()) == []
