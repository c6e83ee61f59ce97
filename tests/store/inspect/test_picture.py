"""The pictures of `emofuse store show`: a ramp looks like a ramp, in shades, in colours and as a file."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from inspect_samples import run
from store_samples import manifest

from emofuse.store import FeatureData, write_store
from emofuse.store.inspect.picture import cell_means, colour_mode, draw
from emofuse.store.inspect.picture_scale import DEVIATIONS

M = manifest()


def ramp_store(tmp_path: Path) -> Path:
    """`time` grows with time, `dimension` with the dimension; a huge value each, which must not darken the rest."""
    over_time = np.tile(np.arange(200, dtype=np.float32)[:, None], (1, 40))
    over_dimensions = np.tile(np.arange(40, dtype=np.float32), (200, 1))
    over_time[0, 0] = over_dimensions[0, 0] = 30000
    features = {"time": over_time, "dimension": over_dimensions}
    one = replace(M, utterances=M.utterances[:1])
    data = {k: FeatureData(modality="audio", arrays={"u000": v}, frame_rate=100.0) for k, v in features.items()}
    write_store(tmp_path / "ramp.h5", one, data)
    return tmp_path / "ramp.h5"


def picture_in(result: Result) -> list[str]:
    return [line[1:-1] for line in result.stdout.splitlines() if line.startswith("|")]


def test_a_ramp_looks_like_a_ramp(tmp_path: Path) -> None:
    path = ramp_store(tmp_path)
    over_time = picture_in(run("show", path, "u000", "--feature", "time", "--scale", "values"))
    assert (len(over_time), {len(line) for line in over_time}) == (16, {72})
    levels = [" .:-=+*#%@".index(c) for c in over_time[0]]
    assert levels == sorted(levels)
    assert set(levels) == set(range(10)), "all shades, although one value is far out"
    assert over_time[0] == over_time[7], "every dimension alike"
    upwards = picture_in(run("show", path, "u000", "--feature", "dimension", "--scale", "values"))
    levels = [" .:-=+*#%@".index(line[40]) for line in upwards]
    assert levels == sorted(levels, reverse=True), "high dimensions are at the top"
    result = run("show", path, "u000", "--feature", "time").stdout
    assert "time: 0 to 2.00 s; dimensions 0 (bottom) to 39;" in result


def colour_grid(lines: list[str]) -> np.ndarray:
    """[rows, columns, 3]: the colours of half blocks, upper and lower row of each line."""
    grid = []
    for line in lines:
        upper, lower, ink, paper = [], [], (0, 0, 0), (0, 0, 0)
        for code, block in re.findall(r"\x1b\[([\d;]*)m|(.)", line):
            numbers = [*map(int, code.split(";"))] if code else []
            if numbers[:2] == [38, 2]:
                ink, paper = tuple(numbers[2:5]), tuple(numbers[7:10]) or paper
            if block:
                upper.append(ink)
                lower.append(paper)
        grid += [upper, lower]
    return np.array(grid)


def test_colours_on_a_terminal_are_the_same_ramp(tmp_path: Path) -> None:
    path = ramp_store(tmp_path)
    shown = {}
    for colours in ("truecolor", ""):
        master, slave = os.openpty()
        environ = {**os.environ, "TERM": "xterm-256color", "COLORTERM": colours, "PYTHONIOENCODING": "utf-8"}
        environ.pop("NO_COLOR", None)
        arguments = ["store", "show", str(path), "u000", "--feature", "time"]
        process = subprocess.Popen(
            [sys.executable, "-m", "emofuse.common.umbrella", *arguments], stdout=slave, env=environ, stderr=slave
        )
        os.close(slave)
        shown[colours] = b""
        try:
            while more := os.read(master, 65536):
                shown[colours] += more
        except OSError:  # the other side is closed
            pass
        os.close(master)
        assert process.wait() == 0, shown[colours]
    drawn = [line for line in shown["truecolor"].decode().splitlines() if "▀" in line]
    grid = colour_grid(drawn)
    assert grid.shape == (32, 72, 3)
    assert (grid[0, 0].tolist(), grid[5, -1].tolist()) == ([68, 1, 84], [253, 231, 37]), "viridis's ends"
    assert (np.diff(grid[9, :, 1]) >= 0).all(), "viridis grows greener all the way"
    few = [line for line in shown[""].decode().splitlines() if "▀" in line]
    assert all("38;5;" in line and "38;2;" not in line for line in few)


def test_shades_where_there_is_no_terminal_or_colours_are_not_wanted() -> None:
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    class Old(Terminal):
        encoding = "ascii"

    good = {"TERM": "xterm-256color"}
    assert colour_mode(Terminal(), good) == "256"
    assert colour_mode(Terminal(), {**good, "COLORTERM": "truecolor"}) == "24bit"
    assert colour_mode(Terminal(), {**good, "NO_COLOR": "1"}) == "shades"
    assert colour_mode(Terminal(), {"TERM": "dumb"}) == "shades"
    assert colour_mode(Old(), good) == "shades"
    assert colour_mode(io.StringIO(), good) == "shades"


def test_cells_are_averages_of_all_values() -> None:
    values = np.arange(7 * 3, dtype=np.float32).reshape(7, 3)
    assert cell_means(values, 72, 16).T.tolist() == values.tolist()
    coarse = cell_means(values, 3, 2)
    assert coarse.shape == (2, 3)
    assert coarse[0, 0] == values[:2, :1].mean()
    assert coarse[1, 2] == values[4:, 1:].mean()


def test_flat_tiny_odd_and_broken_values_are_drawn_all_the_same() -> None:
    assert draw(np.full((3, 2), 7.0), "shades")[0] == ["===", "==="]
    odd = draw(np.arange(3.0).reshape(1, 3), "24bit")[0]
    assert [("▄" in line, "▀" in line) for line in odd] == [(True, False), (False, True)]
    broken = np.array([[1.0, np.nan], [2.0, np.inf], [3.0, 4.0]])
    assert draw(broken, "shades")[0][0] == "  @"
    assert draw(np.full((2, 2), np.nan), "256")[1] == (0.0, 0.0)


def deltas_store(tmp_path: Path, **fingerprint: object) -> Path:
    """Six bands around 20 with deltas of a hundredth and a ten-thousandth of their size; one frame of `text` alone."""
    random = np.random.default_rng(0)
    blocks = [20 + random.normal(size=(50, 6)), random.normal(size=(50, 6)) / 5, random.normal(size=(50, 6)) / 500]
    values = {"logmel": np.concatenate(blocks, 1), "other": np.concatenate(blocks, 1)}
    data = {
        name: FeatureData(
            modality="audio",
            arrays={"u000": v.astype(np.float32)},
            frame_rate=100.0,
            dtype="float32",
            fingerprint={"bands": 6, "deltas": {"order": 2}} | fingerprint if name == "logmel" else {},
        )
        for name, v in values.items()
    }
    one = np.ones((1, 4), np.float32)
    data["text"] = FeatureData(modality="text", arrays={"u000": one})
    write_store(tmp_path / "deltas.h5", replace(M, utterances=M.utterances[:1]), data)
    return tmp_path / "deltas.h5"


def test_bands_and_their_deltas_have_scales_of_their_own(tmp_path: Path) -> None:
    path = deltas_store(tmp_path)
    lines = run("show", path, "u000", "--feature", "logmel").stdout.splitlines()
    about = [line for line in lines if ", dimensions " in line]
    assert [line.split(",")[0] for line in about] == ["delta-deltas", "deltas", "bands"], "the first ones at the bottom"
    assert [line.split("; ")[0].split(", ")[1] for line in about] == [
        "dimensions 12 (bottom) to 17",
        "dimensions 6 (bottom) to 11",
        "dimensions 0 (bottom) to 5",
    ]
    drawn = [line[1:-1] for line in lines if line.startswith("|")]
    assert len(drawn) == 15
    for block in (drawn[:5], drawn[5:10], drawn[10:]):
        assert set(" .:-=+*#%@") == set("".join(block)), "every shade in every block"
    on_one_scale = picture_in(run("show", path, "u000", "--feature", "logmel", "--scale", "values"))
    assert len({*"".join(on_one_scale[:8])}) == 1, "deltas on the scale of the bands have one shade"


@pytest.mark.parametrize("fingerprint", [{"deltas": {"order": 9}}, {"bands": {"6": 6}}, {"deltas": [2]}, {"bands": 7}])
def test_a_fingerprint_that_is_not_that_of_filter_banks_makes_no_blocks(
    tmp_path: Path, fingerprint: dict[str, object]
) -> None:
    result = run("show", deltas_store(tmp_path, **fingerprint), "u000", "--feature", "logmel")
    assert result.exit_code == 0, result.stderr
    assert "dimensions 0 (bottom) to 17;" in result.stdout
    assert DEVIATIONS in result.stdout


def test_other_features_are_standardised_by_dimension_but_one_frame_is_not(tmp_path: Path) -> None:
    path = deltas_store(tmp_path)
    result = run("show", path, "u000", "--feature", "other").stdout
    assert f"(bright) {DEVIATIONS}\n" in result
    assert len({*"".join(picture_in(run("show", path, "u000", "--feature", "other"))[:6])}) == 10
    assert DEVIATIONS not in run("show", path, "u000", "--feature", "text").stdout


def test_png_shows_the_ramp(path: Path, tmp_path: Path) -> None:
    image = pytest.importorskip("matplotlib.image")
    picture = tmp_path / "p.png"
    result = run("show", ramp_store(tmp_path), "u000", "--feature", "time", "--format", "png", "--out", picture)
    assert result.stdout.endswith(f"picture: {picture}\n")
    pixels = image.imread(picture)
    row = pixels[pixels.shape[0] // 2, :, :3]
    first = np.abs(row - np.array([68, 1, 84]) / 255).sum(1).argmin()
    last = len(row) - 1 - np.abs(row[::-1] - np.array([253, 231, 37]) / 255).sum(1).argmin()
    middle = row[(first + last) // 2]
    assert last - first > 500
    assert middle[1] > middle[0], "the middle of viridis is green"
    assert run("show", path, "u003", "--format", "png", "--out", picture).exit_code == 0
    assert image.imread(picture).shape[0] > pixels.shape[0], "two features, two pictures"


def test_svg_and_pdf_say_what_the_colours_mean(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    svg, pdf = tmp_path / "p.svg", tmp_path / "p.pdf"
    for picture in (svg, pdf):
        result = run("show", deltas_store(tmp_path), "u000", "--format", picture.suffix[1:], "--out", picture)
        assert result.stdout.endswith(f"picture: {picture}\n")
    for words in ("u000: logmel", "delta-deltas", "bands", "value", DEVIATIONS, "seconds"):
        assert f">{words}<" in svg.read_text()
    assert pdf.read_bytes().startswith(b"%PDF")


def test_a_title_is_text_and_no_formula(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    name = "$\\frac{1}$ <b>&"
    one = replace(M, utterances=(replace(M.utterances[0], id=name),))
    write_store(tmp_path / "a.h5", one, {"x": FeatureData(modality="audio", arrays={name: np.eye(4, dtype="f4")})})
    result = run("show", tmp_path / "a.h5", name, "--format", "svg", "--out", tmp_path / "no" / "p.svg")
    assert result.exit_code == 0, result.stderr
    assert "&lt;b&gt;&amp;: x<" in (tmp_path / "no" / "p.svg").read_text()
    monkeypatch.chdir(tmp_path)
    assert run("show", tmp_path / "a.h5", name, "--format", "svg").stdout.endswith("picture: frac-1-b.svg\n")


def test_a_picture_never_replaces_a_store(path: Path) -> None:
    pytest.importorskip("matplotlib")
    before = path.read_bytes()
    result = run("show", path, "u003", "--format", "png", "--out", path)
    assert (result.exit_code, path.read_bytes() == before) == (2, True)
    assert "is an HDF5 file and is not overwritten" in result.stderr
    inside = run("show", path, "u003", "--format", "png", "--out", path / "p.png")
    assert (inside.exit_code, "cannot be a folder" in inside.stderr) == (2, True)


def test_a_file_of_pictures_needs_a_format(path: Path) -> None:
    result = run("show", path, "u003", "--out", "p.svg")
    assert result.exit_code == 2
    assert "--out p.svg has no effect without --format: add --format svg" in result.stderr


def test_without_matplotlib_png_says_what_to_install(path: Path) -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = None; sys.modules['matplotlib.figure'] = None\n"
        "from emofuse.store.commands.store import store; store()"
    )
    picture = path.with_name("p.png")
    arguments = ["show", str(path), "u003", "--format", "png", "--out", str(picture)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "need matplotlib and jinja2: pip install 'emofuse[report]'" in done.stderr
    assert not picture.exists()
