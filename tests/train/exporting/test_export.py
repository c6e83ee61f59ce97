"""`emofuse export` on finished runs: the file, its description, the check, the model card and every refusal."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
import torch
import train_samples as samples
from commands import run as command
from torch import Tensor
from train_samples import config, quietly

from emofuse.common.errors import DataError, UnknownNameError, UsageError
from emofuse.common.umbrella import load_command
from emofuse.store import FeatureStore
from emofuse.train import ExportConfig, ExportOptions, Run, export
from emofuse.train.exporting import checked_file
from emofuse.train.exporting.checked_file import write_checked
from emofuse.train.exporting.exported_model import ExportedModel
from emofuse.train.exporting.formats import registry, torchscript_format
from emofuse.train.exporting.formats.registry import FORMATS
from emofuse.train.runs.run_digests import write_digests
from emofuse.train.runs.trained_models import trained_models


def silent(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("exported")
    samples.store(made / "tiny.h5")
    samples.protocol_file(made)
    quietly(config(made, "run", "concat", steps=4, seeds=2, folds="1,2"))
    quietly(config(made, "pooled", "linear", audio="logmel", text="bert", steps=4))
    quietly(config(made, "layered", "weighted-layers", audio="hubert", steps=4, folds="1"))
    return made


@pytest.mark.parametrize(("format", "file"), [("torchscript", "model.pt"), ("safetensors", "model.safetensors")])
def test_the_command_writes_a_checked_file_a_description_and_a_card(
    folder: Path, tmp_path: Path, format: str, file: str
) -> None:
    done = command("export", ["--run", str(folder / "run"), "--format", format], tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "exports" / f"run-{format}"
    assert {path.name for path in out.iterdir()} == {file, "model.json", "MODEL_CARD.md"}
    assert f"{file}: the mean of 4 models (2 folds, 2 seeds)" in done.stdout
    assert f"in 3 batches, features of {folder / 'tiny.h5'}" in done.stdout
    largest = float(done.stdout.partition("largest difference of a probability: ")[2].split()[0])
    assert largest < 1e-5


def test_one_folds_file_gives_the_predictions_of_the_run(folder: Path, tmp_path: Path) -> None:
    made = export(run=folder / "pooled", format="torchscript", fold=2, out=tmp_path / "fold", say=silent)
    assert made.file is not None
    rows = [r for r in samples.rows(folder / "pooled" / "predictions.csv") if r["fold"] == "2"]
    with FeatureStore(folder / "tiny.h5") as store:
        inputs = [x for name in ("logmel", "bert") for x in padded([store[name][r["id"]] for r in rows])]
    (found,) = torchscript_format.open_file(made.file)(inputs)
    recorded = np.array([[float(r[f"p_{c}"]) for c in samples.CLASSES] for r in rows])
    assert np.abs(found - recorded).max() < 2e-6
    assert json.loads((tmp_path / "fold" / "model.json").read_text())["models"] == [
        {"seed": 0, "fold": 2, "temperature": 1.0}
    ]


def padded(utterances: Sequence[Any]) -> tuple[Tensor, Tensor]:
    sizes = torch.tensor([len(u) for u in utterances])
    frames = [torch.from_numpy(u.astype(np.float32)) for u in utterances]
    return torch.nn.utils.rnn.pad_sequence(frames, batch_first=True), sizes


def test_an_onnx_file_describes_itself(folder: Path, tmp_path: Path) -> None:
    import onnx

    made = export(run=Run.open(folder / "layered"), format="onnx", out=tmp_path / "onnx", say=silent)
    assert made.check is not None
    assert made.check.difference < 1e-5
    stored = onnx.load(made.file)
    about = json.loads(next(p.value for p in stored.metadata_props if p.key == "emofuse"))
    assert about == json.loads((tmp_path / "onnx" / "model.json").read_text())
    assert about["classes"] == list(samples.CLASSES)
    assert about["inputs"][0] == {"name": "audio", "shape": ["batch", "frames", 3, 6], "dtype": "float32"}
    assert about["features"]["audio"]["encoder"] == "hubert"
    batch, frames, layers, dimension = stored.graph.input[0].type.tensor_type.shape.dim
    assert (batch.dim_value, frames.dim_value, layers.dim_value, dimension.dim_value) == (0, 0, 3, 6)


def test_without_its_store_a_run_is_checked_on_random_features(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    edit(tmp_path / "run" / "config.json", lambda config: config.update(stores={"tiny": str(tmp_path / "gone.h5")}))
    lines: list[str] = []
    export(run=tmp_path / "run", format="safetensors", out=tmp_path / "out", say=lines.append)
    assert any("random features" in line and "gone.h5" in line for line in lines)
    card = (tmp_path / "out" / "MODEL_CARD.md").read_text()
    assert "random features (the run's store was not at hand)" in card
    assert str(tmp_path) not in card


def edit(path: Path, change: Any) -> None:
    """Change a JSON file of a run, as if the run had been written so."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    write_digests(path.parent)


def test_features_that_were_extracted_again_are_not_the_runs(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    edit(
        tmp_path / "run" / "config.json",
        lambda config: config["run"]["features"]["text"].update(fingerprint={"revision": "2"}),
    )
    lines: list[str] = []
    export(run=tmp_path / "run", format="safetensors", out=tmp_path / "out", say=lines.append)
    assert any("'bert'" in line and "extracted again with other settings" in line for line in lines)


def test_a_file_that_differs_is_refused_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    def write(path: Path, model: ExportedModel, example: Sequence[Tensor], about: Mapping[str, Any]) -> None:
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.5
        FORMATS["torchscript"].write(path, model, example, about)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.5

    run = Run.open(folder / "run")
    wrong = replace(FORMATS["torchscript"], write=write)
    with pytest.raises(DataError, match=r"model.pt differs from PyTorch by .*at most 0.0001"):
        write_checked(run, trained_models(run), wrong, tmp_path, silent)


def test_a_model_that_a_format_cannot_express_is_refused(folder: Path, tmp_path: Path) -> None:
    def write(path: Path, model: ExportedModel, example: Sequence[Tensor], about: Mapping[str, Any]) -> None:
        raise NotImplementedError("no such operation\nand a long trace")

    run = Run.open(folder / "run")
    expected = r"model 'concat' cannot be written as model.pt \(NotImplementedError: no such operation\); try --format"
    with pytest.raises(UsageError, match=expected):
        write_checked(run, trained_models(run), replace(FORMATS["torchscript"], write=write), tmp_path, silent)


def test_after_a_failed_check_the_folder_does_not_exist(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked_file, "LARGEST_DIFFERENCE", -1.0)
    done = command("export", ["--run", str(folder / "run"), "--format", "safetensors", "--out", "out"], tmp_path)
    assert done.returncode == 3
    assert "nothing was written" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")] == []


def test_the_function_has_the_options_of_the_command() -> None:
    fields_of = {field.name: field for field in fields(ExportConfig)}
    options = {option.name: option for option in load_command("export").params if option.expose_value}
    assert set(options) == set(fields_of) == set(get_type_hints(ExportOptions))
    for name, option in options.items():
        assert option.required == (fields_of[name].default is MISSING), name


def test_mistakes_are_named_together(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    done = command("export", ["--run", str(folder), "--format", "onx", "--out", "out"], tmp_path)
    assert done.returncode == 2
    valid = "card, emobox-predictions, onnx, safetensors, torchscript"
    assert f"no export format named 'onx'. Did you mean 'onnx'? Valid: {valid}" in done.stderr
    assert "out already exists: delete it, or give another --out" in done.stderr
    assert "is not a finished run" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_format_that_is_not_installed_names_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = registry.find_spec
    monkeypatch.setattr(registry, "find_spec", lambda name: None if name == "onnxscript" else found(name))
    with pytest.raises(UsageError, match=r"--format onnx needs onnxscript: pip install 'emofuse\[onnx\]'"):
        export(run=folder / "run", format="onnx", say=silent)


def test_a_package_that_cannot_be_imported_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        if name == "onnxruntime":
            raise ImportError("libfoo.so.1: no such file")

    monkeypatch.setattr(registry, "import_module", broken)
    with pytest.raises(UsageError, match=r"needs onnxruntime, .*cannot be imported \(libfoo\.so\.1: no such file\)"):
        export(run=folder / "run", format="onnx", say=silent)


@pytest.mark.parametrize("content", [b"\x80\x04K\x01.", b""], ids=["pickle", "empty"])
def test_damaged_weights_are_refused_and_nothing_is_written(folder: Path, tmp_path: Path, content: bytes) -> None:
    shutil.copytree(folder / "pooled", tmp_path / "run")
    (tmp_path / "run" / "fold_2" / "model.safetensors").write_bytes(content)
    done = command("export", ["--run", "run", "--format", "safetensors", "--out", "out"], tmp_path)
    assert done.returncode == 3
    assert str(Path("fold_2") / "model.safetensors") in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_folds_and_the_final_model_must_exist(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match=r"no fold named '3'.*1, 2"):
        export(run=folder / "run", format="card", fold=3, out=tmp_path / "out", say=silent)
    with pytest.raises(UsageError, match=r"has no final model.*--final"):
        export(run=folder / "run", format="card", refit=True, out=tmp_path / "out", say=silent)
    with pytest.raises(UsageError, match="fold and refit exclude each other"):
        export(run=folder / "run", format="card", fold=1, refit=True, say=silent)
    with pytest.raises(UsageError, match="option 'format' is missing, such as format='onnx'"):
        export(run=folder / "run", say=silent)  # type: ignore[call-overload]
    assert list(tmp_path.iterdir()) == []


def test_the_final_model_is_exported_alone(folder: Path, tmp_path: Path) -> None:
    quietly(config(folder, "final", "text", steps=4, folds="1,2", final=True))
    made = export(run=folder / "final", format="safetensors", refit=True, out=tmp_path / "out", say=silent)
    assert made.check is not None
    assert made.check.difference < 1e-5
    assert json.loads((tmp_path / "out" / "model.json").read_text())["models"] == [
        {"seed": 0, "fold": None, "temperature": 1.0}
    ]
    assert "trained on all data and has no score" in (tmp_path / "out" / "MODEL_CARD.md").read_text()


def test_a_calibrated_run_exports_its_temperatures(folder: Path, tmp_path: Path) -> None:
    run = quietly(config(folder, "calibrated", "text", steps=8, folds="1,2", calibrate="temperature"))
    made = export(run=run, format="torchscript", fold=2, out=tmp_path / "out", say=silent)
    assert made.file is not None
    assert made.check is not None
    assert made.check.difference < 1e-5
    rows = [r for r in samples.rows(run / "predictions.csv") if r["fold"] == "2"]
    with FeatureStore(folder / "tiny.h5") as store:
        outputs = torchscript_format.open_file(made.file)(padded([store["bert"][r["id"]] for r in rows]))
    for found, start in zip(outputs, ("p_", "calibrated_p_"), strict=True):
        recorded = np.array([[float(r[f"{start}{c}"]) for c in samples.CLASSES] for r in rows])
        assert np.abs(found - recorded).max() < 2e-6
    about = json.loads((tmp_path / "out" / "model.json").read_text())
    assert [output["name"] for output in about["outputs"]] == ["probabilities", "calibrated_probabilities"]
    assert about["models"][0]["temperature"] != 1
    assert "| with a temperature |" in (tmp_path / "out" / "MODEL_CARD.md").read_text()


def test_models_that_read_features_of_their_own_folds_are_not_averaged(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "run", tmp_path / "run")
    per_fold = {"bert@1": {}, "bert@2": {}}
    edit(
        tmp_path / "run" / "config.json",
        lambda config: config["run"]["features"]["text"].update(fingerprint=per_fold),
    )
    with pytest.raises(UsageError, match=r"'bert' is a separate feature for each fold.*--fold"):
        export(run=tmp_path / "run", format="safetensors", out=tmp_path / "out", say=silent)
    export(run=tmp_path / "run", format="safetensors", fold=1, out=tmp_path / "out", say=silent)
