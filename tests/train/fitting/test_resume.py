"""Kills, Ctrl-C, full disks and second processes: what a fit leaves, and that it resumes to the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import train_samples as samples
from torch import Tensor, nn

from emofuse.common.disk import tensor_file, training_checkpoint
from emofuse.common.disk.run_folder import read_json
from emofuse.common.errors import DataError
from emofuse.common.registry import Entry
from emofuse.store import FeatureStore
from emofuse.train.api import fit
from emofuse.train.data.batches import TaskData
from emofuse.train.data.loader import Loader
from emofuse.train.fitting import loop
from emofuse.train.fitting.resume import FoldCheckpoint
from emofuse.train.models.base import FusionModel, Inputs, ModelSpec, Outputs
from emofuse.train.models.config import Config
from emofuse.train.models.registry import MODELS
from emofuse.train.resolve.config import FitConfig
from emofuse.train.resolve.make_plan import resolve
from emofuse.train.runs.fit_context import model_recipe

CPU = torch.device("cpu")
TRAIN, VALIDATION = torch.arange(32).numpy(), torch.arange(32, 48).numpy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("resume")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    return made


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every evaluation step saves the state, however soon after the last one."""
    monkeypatch.setattr(training_checkpoint, "SECONDS", 0.0)
    monkeypatch.setattr(training_checkpoint, "SHARE", 0)


class Noisy(FusionModel):
    """Learns a bias for each class, with noise that it draws."""

    def __init__(self, config: Config, inputs: Inputs) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(inputs.classes))

    def draw(self, batch: int, frames: int, words: int, generator: torch.Generator) -> dict[str, Tensor]:
        return {"noise": torch.randn(batch, 4, generator=generator)}

    def forward(self, audio: Any, audio_lengths: Any, text: Any, text_lengths: Any, **more: Any) -> Outputs:
        noise = (more.get("draws") or {}).get("noise", 0.0)
        return Outputs(logits=self.bias.expand(len(text), -1) + noise)


NOISY = ModelSpec(modalities=("text",), features={"text": "bert"}, preset=lambda _: Config(), build=Noisy)


def prepared(folder: Path, model: str) -> tuple[Any, TaskData]:
    audio = "logmel" if model in ("smcn", "concat", "audio", "linear") else None
    asked = FitConfig(
        store=folder / "tiny.h5", model=model, protocol=str(folder / "tiny4.toml"), audio=audio, device="cpu"
    )
    with FeatureStore(asked.store) as store:
        plan = resolve(store, asked)
        recipe, corpus = model_recipe(plan), Loader(plan).task_data(plan.folds[0])
    settings = samples.shrunk(recipe.settings, lr=0.01, batch=8, steps=30, epochs=0.0)
    return replace(recipe, settings=settings), corpus.with_statistics_of(TRAIN)


def trained(recipe: Any, data: TaskData, keep_all: bool = False, **options: Any) -> loop.TrainingResult:
    job = loop.TrainingJob(
        recipe=recipe, data=data, training=TRAIN, validation=VALIDATION, metric="ua", seed=3, keep_all=keep_all
    )
    return loop.train(job, **options)


DEEP = ("ks-transformer", "mult", "mmrbn", "msmser", "coattention")
"""Models that take seconds for a few steps."""


class KilledError(Exception):
    pass


@pytest.mark.parametrize(
    ("name", "keep_all"),
    [
        *(
            pytest.param(name, False, marks=[pytest.mark.slow] if name in DEEP else [])
            for name in [*MODELS.names(), "noisy"]
        ),
        ("linear", True),
        ("noisy", True),
    ],
)
def test_a_stopped_training_resumes_to_the_same_weights(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, always: None, name: str, keep_all: bool
) -> None:
    monkeypatch.setitem(MODELS._entries, "noisy", Entry("noisy", "for this test", NOISY))
    recipe, corpus = prepared(folder, name)
    whole = trained(recipe, corpus, keep_all=keep_all)
    steps: list[int] = []
    for stop in (2, 11, 26):

        def until(step: int, note: str, stop: int = stop) -> None:
            steps.append(step)
            if step == stop:
                raise KilledError

        with pytest.raises(KilledError):
            trained(recipe, corpus, keep_all=keep_all, checkpoint=FoldCheckpoint(tmp_path, CPU), on_step=until)
        assert FoldCheckpoint(tmp_path, CPU).step == stop // 3 * 3
    assert steps == [1, 2, *range(1, 12), *range(10, 27)]
    done = trained(recipe, corpus, keep_all=keep_all, checkpoint=FoldCheckpoint(tmp_path, CPU))
    assert (done.step, done.validation) == (whole.step, whole.validation)
    assert sorted(done.checkpoints) == sorted(whole.checkpoints)
    for one, other in (
        (done.model.state_dict(), whole.model.state_dict()),
        *((done.checkpoints[s], whole.checkpoints[s]) for s in whole.checkpoints),
    ):
        assert all(torch.equal(one[key], other[key]) for key in other)
    bare = [[{k: v for k, v in row.items() if k != "seconds"} for row in t.history] for t in (done, whole)]
    assert bare[0] == bare[1]


EVERYTHING = {
    "optimiser": "adamw", "warmup": 0.1, "clip": 1.0, "label_smoothing": 0.1, "logit_adjustment": 1.0, "mixup": 0.4,
    "modality_dropout": 0.3, "mask_time": 0.3, "mask_features": 0.3,
}  # fmt: skip


@pytest.mark.parametrize(
    "options",
    [
        EVERYTHING | {"ema": 0.9, "schedule": "plateau"},
        EVERYTHING | {"swa": 0.8, "schedule": "cosine"},
        {"patience": 3, "lr": 1e-9},
    ],
    ids=["ema", "swa", "patience"],
)
def test_the_optional_settings_resume_to_the_same_bits(
    folder: Path, tmp_path: Path, always: None, options: dict[str, Any]
) -> None:
    recipe, corpus = prepared(folder, "concat")
    recipe = replace(recipe, settings=replace(recipe.settings, **options))
    whole = trained(recipe, corpus)
    for stop in (11, 13, 14):

        def until(step: int, note: str, stop: int = stop) -> None:
            if step == stop:
                raise KilledError

        with pytest.raises(KilledError):
            trained(recipe, corpus, checkpoint=FoldCheckpoint(tmp_path, CPU), on_step=until)
    done = trained(recipe, corpus, checkpoint=FoldCheckpoint(tmp_path, CPU))
    assert (done.step, done.validation, done.stopped) == (whole.step, whole.validation, whole.stopped)
    expected = whole.model.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in done.model.state_dict().items())
    assert [row | {"seconds": 0} for row in done.history] == [row | {"seconds": 0} for row in whole.history]


def test_a_quick_fold_saves_nothing(folder: Path, tmp_path: Path) -> None:
    trained(*prepared(folder, "text"), checkpoint=FoldCheckpoint(tmp_path, CPU))
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_another_kind_of_device_is_not_used(folder: Path, tmp_path: Path, always: None) -> None:
    trained(*prepared(folder, "text"), checkpoint=FoldCheckpoint(tmp_path, CPU))
    assert [p.name for p in tmp_path.iterdir()] == ["training.safetensors"]
    assert FoldCheckpoint(tmp_path, CPU).step == 27
    assert FoldCheckpoint(tmp_path, torch.device("cuda")).step == 0


def test_a_damaged_state_is_named(folder: Path, tmp_path: Path, always: None) -> None:
    trained(*prepared(folder, "text"), checkpoint=FoldCheckpoint(tmp_path, CPU))
    path = tmp_path / "training.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"training\.safetensors cannot be read: .*; delete it"):
        FoldCheckpoint(tmp_path, CPU)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.update(step="x"), "its step is 'x'"),
        (lambda about: about.update(best=None), r"is not of this training or was altered \(TypeError"),
        (lambda about: about.pop("looks"), r"is not of this training or was altered \(KeyError"),
        (lambda about: about["best"].update(more=1), r"is not of this training or was altered \(TypeError"),
    ],
)
def test_an_altered_state_is_named(folder: Path, tmp_path: Path, always: None, change: Any, message: str) -> None:
    recipe, data = prepared(folder, "text")
    trained(recipe, data, checkpoint=FoldCheckpoint(tmp_path, CPU))
    path = tmp_path / "training.safetensors"
    tensors, about = tensor_file.read(path)
    change(about)
    tensor_file.write(path, tensors, about)
    with pytest.raises(DataError, match=rf"training\.safetensors.*{message}.*; delete it, and the fold restarts"):
        trained(recipe, data, checkpoint=FoldCheckpoint(tmp_path, CPU))


FIT = """
import sys
from pathlib import Path
import torch
from emofuse.common.disk import training_checkpoint
training_checkpoint.SECONDS = training_checkpoint.SHARE = 0
from emofuse.train.commands.fit import main
{before}
sys.argv = ["fit", *{arguments!r}]
main()
"""
STEPS = 150
QUICK = ("--protocol", "tiny4.toml", "--model", "concat", "--audio", "logmel", "--folds", "1,2", "--threads", "1")
SETTINGS = ("--device", "cpu", "--set", "hidden=16", "--set", "batch=16", "--set", "lr=0.01")


def start(folder: Path, out: str, steps: int, before: str = "") -> subprocess.Popen[str]:
    arguments = ["--store", "tiny.h5", *QUICK, *SETTINGS, "--steps", str(steps), "--out", out]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    code = FIT.format(before=before, arguments=arguments)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=environment, **pipes)


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def until(path: Path, process: subprocess.Popen[str]) -> None:
    for _ in range(6000):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError(f"{path} was not written")


def again(folder: Path, out: str) -> list[str]:
    """The same fit in this process; gives the lines that it prints."""
    lines: list[str] = []
    asked = FitConfig(
        store=folder / "tiny.h5",
        model="concat",
        protocol=str(folder / "tiny4.toml"),
        audio="logmel",
        folds="1,2",
        steps=STEPS,
        settings=("hidden=16", "batch=16", "lr=0.01"),
        device="cpu",
        threads=1,
        out=folder / out,
    )
    fit(asked, say=lines.append)
    return lines


@pytest.fixture(scope="module")
def whole(folder: Path) -> Path:
    again(folder, "whole")
    return folder / "whole"


def same(one: Path, other: Path) -> None:
    for k in ("fold_1", "fold_2"):
        assert (one / k / "model.safetensors").read_bytes() == (other / k / "model.safetensors").read_bytes()
        assert not (one / k / "training.safetensors").exists()
    assert (one / "predictions.csv").read_bytes() == (other / "predictions.csv").read_bytes()
    assert not list(one.rglob("*.part"))


# The signal must come while the second fold is half done, on a fast machine too.
LINGER = """
import time
write = training_checkpoint.TrainingCheckpoint.write
def write_and_linger(checkpoint, collect):
    write(checkpoint, collect)
    checkpoint.flush()
    if checkpoint.path.exists() and checkpoint.path.parent.name == "fold_2":
        time.sleep(60)
training_checkpoint.TrainingCheckpoint.write = write_and_linger
"""


@pytest.mark.parametrize("kind", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_killed_fit_resumes_inside_its_fold_to_the_same_bytes(folder: Path, whole: Path, kind: int) -> None:
    out = folder / f"killed-{kind}"
    process = start(folder, out.name, STEPS, LINGER)
    until(out.with_name(f"{out.name}.part") / "fold_2" / "training.safetensors", process)
    process.send_signal(kind)
    code, _, err = ended(process)
    if kind == signal.SIGINT:
        assert code == 130
        assert "the same command resumes from there" in err
    lines = again(folder, out.name)
    assert "1 of 2 folds are already done; continuing with the others" in lines
    assert any(line.startswith("fold 2 resumes from step ") for line in lines)
    same(out, whole)
    assert [c["threads"] for c in read_json(out / "config.json")["calls"]] == [1, 1]
    assert not list(folder.glob(f"{out.name}*.lock"))


@pytest.mark.slow
def test_a_second_fit_of_the_same_command_is_refused_and_the_first_continues(folder: Path, whole: Path) -> None:
    first = start(folder, "two", STEPS)
    until(folder / "two.part" / "config.json", first)
    first.send_signal(signal.SIGSTOP)
    code, _, err = ended(start(folder, "two", STEPS))
    assert code == 2
    (line,) = err.strip().splitlines()
    holder = f"host {os.uname().nodename}, process {first.pid}, since "
    assert f"error: another process works in two.part ({holder}" in line
    first.send_signal(signal.SIGCONT)
    code, _, err = ended(first)
    assert code == 0, err
    same(folder / "two", whole)


LIMITED = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


SELDOM = "\ntraining_checkpoint.SECONDS = 1e9"


@pytest.mark.parametrize(
    ("room", "more", "named"),
    [
        (1000, "", "config.json"),
        pytest.param(30_000, "", "fold_1/training.safetensors", marks=pytest.mark.slow),
        pytest.param(30_000, SELDOM, "fold_1/model.safetensors", marks=pytest.mark.slow),
        pytest.param(60_000, SELDOM, "report.html", marks=pytest.mark.slow),
    ],
    ids=["config", "training", "model", "report"],
)
def test_a_full_disk_is_exit_code_three_and_the_same_command_resumes(
    folder: Path, whole: Path, room: int, more: str, named: str
) -> None:
    out = folder / f"full-{Path(named).stem}"
    code, _, err = ended(start(folder, out.name, STEPS, before=LIMITED.format(room) + more))
    assert code == 3, err
    assert err.strip().splitlines()[-1] == (
        f"error: no space left for {out.name}.part/{named}: free some and run the same command again"
    )
    assert "Traceback" not in err
    assert not list(out.with_name(f"{out.name}.part").rglob("*.part"))
    assert not list(folder.glob(f"{out.name}*.lock"))
    if more:
        again(folder, out.name)
        same(out, whole)


def test_a_file_of_a_run_is_whole_or_absent(tmp_path: Path) -> None:
    code = LIMITED.format(100) + (
        "\nfrom pathlib import Path\nfrom emofuse.common.disk.files import write_atomically\n"
        "from emofuse.common.errors import command\n"
        "@command\ndef go():\n    write_atomically(Path('x.csv'), bytes(101))\ngo()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr == "error: no space left for x.csv: free some and run the same command again\n"
    assert list(tmp_path.iterdir()) == []
