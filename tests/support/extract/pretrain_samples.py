"""Folders of audio to pre-train on, random weights of the network, and small models in ONNX."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from click.testing import CliRunner, Result

from emofuse.extract.commands import pretrain as command

COMMAND = [sys.executable, "-c", "from emofuse.common.umbrella import main; main()", "pretrain"]
QUICK = ("--steps", "12", "--batch", "4", "--patches", "2")


def pretrain(*arguments: str | Path) -> Result:
    """In this process, which has torch already."""
    return CliRunner().invoke(command.pretrain, [str(a) for a in arguments])


def pretrain_apart(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As a user runs it."""
    return subprocess.run([*COMMAND, *arguments], cwd=folder, capture_output=True, text=True)


def voices(folder: Path, count: int = 5, seconds: float = 1.5) -> Path:
    """Clips of different pitch with a little noise, some of them in a subfolder."""
    for n in range(count):
        rng, time = np.random.default_rng(n), np.arange(int(16000 * (seconds + 0.1 * n))) / 16000
        tone = np.sign(np.sin(2 * np.pi * (90 + 40 * n) * time)) * np.sin((3 + n) * time)
        path = folder / ("more" if n % 2 else "") / f"voice{n}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.2 * tone + rng.normal(0, 0.01, len(time)), 16000)
    return folder


def kernels(dimension: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Of two convolutions over time: windows of 25 ms every 10 ms, then patches of 96 of them every 48."""
    rng = np.random.default_rng(seed)
    first, second = rng.normal(0, 0.05, (4, 1, 400)), rng.normal(0, 0.05, (dimension, 4, 96))
    return first.astype(np.float32), second.astype(np.float32)


def save_onnx(path: Path, kind: str = "frames", rank: int = 2, rate: bool = False, outside: bool = False) -> Path:
    """A model that reads a waveform: `frames` [1, T, D], `vector` (the mean over them, [1, D]), or `both`."""
    from onnx import TensorProto, helper, numpy_helper

    node, info = helper.make_node, helper.make_tensor_value_info
    weights = [numpy_helper.from_array(k, n) for k, n in zip(kernels(), ("windows", "patches"), strict=True)]
    weights.append(numpy_helper.from_array(np.array([1, 1, -1]), "row"))
    wave = ["batch", "samples"] if rank == 2 else ["samples"]
    inputs = [info("samples", TensorProto.FLOAT, wave)]
    nodes = [
        node("Reshape", ["samples", "row"], ["channel"]),
        node("Conv", ["channel", "windows"], ["bands"], strides=[160]),
        node("Relu", ["bands"], ["loud"]),
        node("Conv", ["loud", "patches"], ["columns"], strides=[48]),
        node("Transpose", ["columns"], ["frames"], perm=[0, 2, 1]),
        node("ReduceMean", ["columns"], ["embedding"], axes=[2], keepdims=0),
    ]
    if rate:
        inputs.append(info("sample_rate", TensorProto.INT64, []))
        weights.append(numpy_helper.from_array(np.float32(1 / 16000), "expected"))
        nodes[0] = node("Reshape", ["scaled", "row"], ["channel"])
        nodes.insert(0, node("Mul", ["samples", "factor"], ["scaled"]))
        nodes.insert(0, node("Mul", ["rate", "expected"], ["factor"]))
        nodes.insert(0, node("Cast", ["sample_rate"], ["rate"], to=TensorProto.FLOAT))
    every = {
        "frames": info("frames", TensorProto.FLOAT, [1, "T", 6]),
        "embedding": info("embedding", TensorProto.FLOAT, [1, 6]),
    }
    chosen = {"frames": ["frames"], "vector": ["embedding"], "both": ["frames", "embedding"]}[kind]
    graph = helper.make_graph(nodes, "speech", inputs, [every[name] for name in chosen], weights)
    return put_onnx(path, graph, outside)


def put_onnx(path: Path, graph: Any, outside: bool = False) -> Path:
    import onnx
    from onnx import helper

    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    beside = {"save_as_external_data": True, "location": f"{path.name}.data", "size_threshold": 100} if outside else {}
    onnx.save(model, path, **beside)
    return path
