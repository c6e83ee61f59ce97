"""TRILL in ONNX: equality to PyTorch, exact lengths, chosen outputs, and models that cannot be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from extract_samples import OWN, corpus, extract
from patch_samples import save_random_weights, speech
from pretrain_samples import kernels, put_onnx, save_onnx

from emofuse.common.errors import DataError, UsageError
from emofuse.extract.commands.finetune import finetune
from emofuse.extract.encoders.onnx_models.frame_count import FrameCount, measure
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions
from emofuse.store import FeatureStore

__all__ = ["corpus"]

LENGTHS = [1, 399, 15599, 15600, 15601, 23279, 23280, 30959, 30960, 100001]


def build(path: Path, layers: str = "last", **options: str) -> Any:
    return ENCODERS["trill"].build(EncoderOptions(weights=str(path), layers=layers, **options))


def expected(waveform: np.ndarray) -> np.ndarray:
    """The same two convolutions by PyTorch: [T, D]."""
    import torch
    import torch.nn.functional as F

    first, second = (torch.from_numpy(k) for k in kernels())
    filled = torch.from_numpy(np.pad(waveform, (0, max(0, 15600 - len(waveform)))))
    return F.conv1d(F.relu(F.conv1d(filled[None, None], first, stride=160)), second, stride=48)[0].T.numpy()


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize(("rank", "rate"), [(1, False), (2, False), (2, True)])
def test_frames_are_those_of_the_same_network_in_pytorch(samples: int, rank: int, rate: bool, tmp_path: Path) -> None:
    encoder = build(save_onnx(tmp_path / "m.onnx", rank=rank, rate=rate))
    clip = speech(samples)
    frames = encoder.encode([speech(40000), clip])[1]
    np.testing.assert_allclose(frames, expected(clip), atol=1e-5)
    assert frames.dtype == np.float32
    assert frames.shape == (encoder.length(samples), encoder.dimension)
    assert encoder.frame_rate == pytest.approx(16000 / 7680)
    np.testing.assert_array_equal(frames, encoder.encode([clip])[0])


def test_a_vector_for_a_clip_is_one_frame(tmp_path: Path) -> None:
    encoder = build(save_onnx(tmp_path / "m.onnx", "vector"))
    assert [encoder.length(n) for n in LENGTHS] == [1] * len(LENGTHS)
    assert encoder.frame_rate is None
    np.testing.assert_allclose(encoder.encode([speech(50000)])[0], expected(speech(50000)).mean(0)[None], atol=1e-5)


def test_the_embedding_is_the_default_output_and_others_are_named(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "m.onnx", "both")
    default, named, frames = (build(path, layers) for layers in ("last", "embedding", "frames"))
    assert default.identity() == named.identity() != frames.identity()
    assert [len(e.encode([speech(40000)])[0]) for e in (default, frames)] == [1, 4]
    for layers in ("9", "frame", "all", "frames,embedding"):
        with pytest.raises(UsageError, match=rf"no output of .*m.onnx named '{layers}'.*Valid: embedding, frames"):
            build(path, layers)


def test_identity_is_the_file_and_what_lies_beside_it(tmp_path: Path) -> None:
    one, same = (build(save_onnx(tmp_path / name)) for name in ("a.onnx", "b.onnx"))
    assert one.identity() == same.identity()
    assert "if a.onnx holds the published weights" in one.provenance()["pretrained_on"]
    path = save_onnx(tmp_path / "c.onnx", outside=True)
    before = build(path)
    assert before.weights.files == (path, tmp_path / "c.onnx.data")
    values = np.fromfile(tmp_path / "c.onnx.data", np.uint8)
    values[1000] ^= 1
    values.tofile(tmp_path / "c.onnx.data")
    assert build(path).identity() != before.identity()


def test_other_inputs_are_refused_with_both(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    def model(**inputs: tuple[int, list[Any]]) -> Path:
        infos = [helper.make_tensor_value_info(n, *kind) for n, kind in inputs.items()]
        out = helper.make_tensor_value_info("embedding", *next(iter(inputs.values())))
        node = helper.make_node("Identity", [next(iter(inputs))], ["embedding"])
        return put_onnx(tmp_path / "m.onnx", helper.make_graph([node], "g", infos, [out]))

    number, whole = TensorProto.FLOAT, TensorProto.INT64
    cases = {
        "mel float [batch, 96, 64]": {"mel": (number, ["batch", 96, 64])},
        "ids int64 [batch, n]": {"ids": (whole, ["batch", "n"])},
        "samples float [16000]": {"samples": (number, [16000])},
        "samples float [8, n]": {"samples": (number, [8, "n"])},
        "samples float [n], training int64 []": {"samples": (number, ["n"]), "training": (whole, [])},
        "a float [n], b float [n]": {"a": (number, ["n"]), "b": (number, ["n"])},
    }
    for shown, inputs in cases.items():
        with pytest.raises(UsageError) as caught:
            build(model(**inputs))
        assert f"has the inputs {shown}; expected one waveform at 16 kHz, float32 [samples] or" in str(caught.value)


def test_outputs_that_are_no_frames_are_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    def model(outputs: dict[str, tuple[int, int]], *nodes: Any) -> Path:
        wave = helper.make_tensor_value_info("samples", TensorProto.FLOAT, ["n"])
        infos = [helper.make_tensor_value_info(n, kind, [None] * rank) for n, (kind, rank) in outputs.items()]
        return put_onnx(tmp_path / "m.onnx", helper.make_graph(nodes, "g", [wave], infos))

    node, number = helper.make_node, TensorProto.FLOAT
    two = model({"a": (number, 1), "b": (number, 1)}, node("Abs", ["samples"], ["a"]), node("Neg", ["samples"], ["b"]))
    with pytest.raises(UsageError, match="has several outputs, none called embedding: --layers a or b"):
        build(two)
    with pytest.raises(UsageError, match="output loud is bool, expected float"):
        build(model({"loud": (TensorProto.BOOL, 1)}, node("IsNaN", ["samples"], ["loud"])))
    one = helper.make_node("Constant", [], ["x"], value_ints=[1, 1, 1, -1])
    with pytest.raises(
        UsageError, match=r"output deep cannot be computed .* it gives \[1, 1, 1, 960000\], expected \[D\]"
    ):
        build(model({"deep": (number, 4)}, one, node("Reshape", ["samples", "x"], ["deep"])))


def test_a_model_whose_frames_follow_from_the_values_is_reported(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    node, info = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Constant", [], ["quiet"], value_float=-0.5),
        node("Greater", ["samples", "quiet"], ["kept"]),
        node("NonZero", ["kept"], ["places"]),
        node("Transpose", ["places"], ["rows"], perm=[1, 0]),
        node("Cast", ["rows"], ["frames"], to=TensorProto.FLOAT),
    ]
    infos = [info("samples", TensorProto.FLOAT, ["n"])], [info("frames", TensorProto.FLOAT, ["t", 1])]
    encoder = build(put_onnx(tmp_path / "m.onnx", helper.make_graph(nodes, "g", *infos)))
    assert encoder.length(900) == len(encoder.encode([np.zeros(900, np.float32)])[0]) == 900
    with pytest.raises(DataError, match=r"returns \(450, 1\) for 900 samples, but other clips imply \(900, 1\)"):
        encoder.encode([np.repeat([0, -0.9], 450).astype(np.float32)])


@pytest.mark.parametrize("content", [b"", b"not a model at all", None])
def test_a_damaged_file_is_reported(content: bytes | None, tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:700] if content is None else content)
    with pytest.raises(DataError, match=r"m.onnx is (empty|damaged or not an ONNX model)"):
        build(path)


def test_weights_of_another_kind_under_that_name_are_recognised(tmp_path: Path) -> None:
    save_random_weights(tmp_path, "yamnet").rename(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match=r"reads .onnx and the .safetensors .* not hdf5; these look like .* yamnet"):
        build(tmp_path / "m.onnx")


def test_precision_and_fitting_are_refused(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "m.onnx")
    with pytest.raises(UsageError, match="its own precision; got --precision bf16, expected fp32"):
        build(path, precision="bf16")
    assert not hasattr(build(path), "tuning")


def test_finetune_refuses_it_before_it_writes(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_onnx(corpus / "m.onnx")
    (corpus / "own2.toml").write_text(
        'corpus = "custom"\nsource = "made for the tests"\nclasses = ["ang", "sad"]\nmetrics = ["ua"]\n'
        '[folds]\nby = "speaker"\ndisjoint = ["speaker"]\n'
    )
    monkeypatch.chdir(corpus)
    options = (*OWN[:-2], "--protocol", "own2.toml", "--encoder", "trill", "--weights", "m.onnx", "--quiet")
    done = CliRunner().invoke(finetune, options)
    assert done.exit_code == 2
    assert "m.onnx is a finished graph, which cannot be fitted further" in done.stderr
    assert not (corpus / "runs").exists()


@pytest.mark.slow
def test_without_onnx_runtime_it_says_what_to_install(tmp_path: Path) -> None:
    path = save_onnx(tmp_path / "m.onnx")
    code = (
        "import emofuse.extract.encoders.onnx_models.onnx_model as model; model.find_spec = lambda name: None\n"
        "from emofuse.extract.encoders.registry import *\n"
        f"try: ENCODERS['trill'].build(EncoderOptions(weights={str(path)!r}))\n"
        "except Exception as e: print(type(e).__name__, e)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("UsageError")
    assert "needs onnxruntime, which is not installed: pip install 'emofuse[onnx]'" in done.stdout


def _rule(least: int, second: int, hop: int) -> Any:
    return lambda n: 0 if n < least else 1 if n < second else 2 + (n - second) // hop


@pytest.mark.parametrize("rule", [(15600, 23280, 7680), (1, 2, 1), (400, 15600, 2672), (16001, 70000, 20000)])
def test_an_even_rule_is_found(rule: tuple[int, int, int]) -> None:
    found = measure(_rule(*rule))
    assert found is not None
    assert (found.least, found.two_frames, found.hop) == rule
    for samples in (1, rule[0], 20000, 99999, 1234567):
        assert found(samples) == max(1, _rule(*rule)(samples))


def test_where_there_is_no_even_rule_the_model_is_asked() -> None:
    def uneven(samples: int) -> int:
        return 0 if samples < 400 else int(1 + (samples - 400) / 1000.7)

    asked: list[int] = []
    found = measure(lambda n: asked.append(n) or uneven(n))
    assert isinstance(found, FrameCount)
    assert found.hop is None
    for samples in (400, 1400, 98765, 98765):
        assert found(samples) == uneven(samples)
    assert asked.count(98765) == 1
    assert measure(lambda _: 0) is None
    one = measure(lambda _: 1)
    assert one is not None
    assert one(10**7) == 1


def test_extract_takes_it(corpus: Path) -> None:
    save_onnx(corpus / "m.onnx")
    done = extract(corpus, *OWN, "--encoder", "trill", "--weights", "m.onnx", "--quiet")
    assert done.returncode == 0, done.stderr
    with FeatureStore(corpus / "own.h5") as store:
        feature = store.feature("trill")
        assert feature.frame_rate == pytest.approx(16000 / 7680)
        assert feature.read([f"c{i}" for i in range(8)]).lengths.tolist() == [1, 1, 1, 1, 1, 1, 2, 2]
