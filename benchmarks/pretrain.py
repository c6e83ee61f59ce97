"""Whether `emofuse pretrain trill` learns: its features on real speech compared with those of the untrained network.

    python benchmarks/pretrain.py [--seeds 3] [--held-out 0] [--steps 300] [--shuffled] [--out results.json]

Emo-DB (`--root`, the folder of its wav files), four emotions, leave one speaker out: each clip's features are the mean
over its frames, classified by logistic regression (standardised on the training speakers, C fixed beforehand), nothing
selected on a test speaker. Pre-training uses every speaker, without labels; with `--held-out 5` the speakers are split
into five groups, and a speaker is tested with features of a network that was not pre-trained on its group. Both
networks of a seed start from the same random weights. `--shuffled` is the control: the patches of each batch are
assigned to its recordings at random, so that proximity in time carries no information and only the training itself
remains. WA is accuracy, UA the mean of per-class recalls, in %.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from emofuse.common.disk import tensor_file
from emofuse.datasets.base import ReaderOptions
from emofuse.datasets.registry import read_corpus
from emofuse.extract.audio.clips import load
from emofuse.extract.encoders import trill
from emofuse.extract.encoders.networks import trill_network
from emofuse.extract.encoders.registry import ENCODERS, EncoderOptions
from emofuse.extract.pretrain.checkpoint import open_checkpoint
from emofuse.extract.pretrain.config import PretrainSettings
from emofuse.extract.pretrain.loop import fit
from emofuse.extract.pretrain.recordings import Patches, TripletBatch, find_recordings
from emofuse.extract.pretrain.run import PretrainPlan, pretrain
from emofuse.manifests import protocol_files
from emofuse.manifests.metrics.scores import scores

EMODB = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "emodb"
C = 0.01


class Speech:
    """The clips of Emo-DB's four emotions: waveforms, labels and speakers."""

    def __init__(self, root: Path) -> None:
        task = protocol_files.load("emodb4")
        manifest, self.root = read_corpus("emodb", root, ReaderOptions())
        kept = [u for u in manifest.utterances if task.has(u)]
        self.waveforms = [load(self.root / u.audio, 16000) for u in kept if u.audio]
        self.labels = np.array([task.classes.index(task.class_of(u) or "") for u in kept])
        self.speakers = np.array([u.speaker for u in kept])
        self.clips = {u.audio: u.speaker for u in kept}

    def features(self, weights: Path, layers: str) -> np.ndarray:
        """Mean over the frames of each clip, [n, D]."""
        encoder = ENCODERS["trill"].build(EncoderOptions(weights=str(weights), layers=layers))
        return np.stack([encoder.encode([waveform])[0].mean(0) for waveform in self.waveforms])

    def predictions(self, features: np.ndarray, speakers: Sequence[str]) -> np.ndarray:
        """Classes of the clips of `speakers`, each predicted by a classifier of all other speakers; -1 elsewhere."""
        found = np.full(len(self.labels), -1)
        for speaker in speakers:
            test = self.speakers == speaker
            model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=5000))
            found[test] = model.fit(features[~test], self.labels[~test]).predict(features[test])
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=EMODB)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--held-out", type=int, default=0, help="groups of speakers, each held out from pre-training once; 0: none"
    )
    parser.add_argument("--shuffled", action="store_true", help="the control: random pairs")
    parser.add_argument("--layers", default="last,7", help="which layers, each by itself")
    for name in ("dimension", "steps", "batch", "patches", "projection", "tau", "delta", "lr"):
        usual = getattr(PretrainSettings(), name)
        parser.add_argument(f"--{name}", type=type(usual), default=usual)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    options = parser.parse_args()
    if not options.root.is_dir():
        print(f"skipped: no Emo-DB at {options.root}; pass --root")
        return
    given = {k: v for k, v in vars(options).items() if k in PretrainSettings.__dataclass_fields__}
    layers = options.layers.split(",")
    found = measure(options.root, PretrainSettings(**given), options.seeds, options.held_out, layers, options.shuffled)
    print(json.dumps(found, indent=2))
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n")


def measure(
    root: Path, settings: PretrainSettings, seeds: int, groups: int, layers: Sequence[str], shuffled: bool = False
) -> dict[str, object]:
    """Scores of both networks by layer, over seeds."""
    speech = Speech(root)
    rows: list[dict[str, object]] = []
    seconds = []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            here, of_seed = Path(folder), replace(settings, seed=seed)
            random = here / "random.safetensors"
            tensor_file.write(random, trill_network.random_weights(settings.dimension, seed), {"format": trill.FORMAT})
            began = time.monotonic()
            parts = fitted(speech, of_seed, groups, here, shuffled)
            seconds.append(time.monotonic() - began)
            for layer in layers:
                for name, checkpoints in (("random", [(random, sorted(set(speech.speakers)))]), ("pretrained", parts)):
                    predicted = np.full(len(speech.labels), -1)
                    for weights, speakers in checkpoints:
                        own = speech.predictions(speech.features(weights, layer), speakers)
                        predicted = np.where(own >= 0, own, predicted)
                    both = scores(speech.labels, predicted)
                    score = {k: round(100 * v, 1) for k, v in both.items() if k in ("wa", "ua")}
                    rows.append({"seed": seed, "layer": layer, "network": name, **score})
                    print(rows[-1], flush=True)
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "versions": {p: version(p) for p in ("emofuse", "torch", "scikit-learn")},
        "clips": len(speech.labels),
        "pretraining heard": f"other groups of speakers alone, {groups} groups" if groups else "every speaker",
        "pairs": "by chance (control)" if shuffled else "near in time",
        "settings": {k: v for k, v in settings.identity().items() if k != "seed"},
        "C": C,
        "seconds of pre-training, by seed": [round(s) for s in seconds],
        "summary": summary(rows, layers),
        "scores": rows,
    }


class Shuffled(Patches):
    """Batches whose patches are assigned to recordings at random."""

    def batch(self, step: int) -> TripletBatch:
        """As `Patches.batch`, with the patches in random order."""
        found = super().batch(step)
        order = torch.randperm(len(found.recordings), generator=torch.Generator().manual_seed(step))
        return replace(found, patches=found.patches[order])


def fitted(
    speech: Speech, settings: PretrainSettings, groups: int, folder: Path, shuffled: bool
) -> list[tuple[Path, list[str]]]:
    """Checkpoints, each with the speakers to test it on."""
    recordings, _ = find_recordings(speech.root, quiet=True)
    speakers = sorted(set(speech.speakers))
    parts = []
    for number in range(max(1, groups)):
        tested = speakers[number::groups] if groups else speakers
        training = [r for r in recordings if r.name in speech.clips and not (groups and speech.clips[r.name] in tested)]
        if shuffled:
            checkpoint = open_checkpoint(folder)
            weights, _ = fit(Shuffled(speech.root, training, settings), settings, checkpoint=checkpoint, device="cpu")
            tensor_file.write(folder / f"{number}.safetensors", weights, {"format": trill.FORMAT})
            checkpoint.remove()
            parts.append((folder / f"{number}.safetensors", tested))
            continue
        plan = PretrainPlan(audio=speech.root, recordings=tuple(training), excluded=(), settings=settings)
        parts.append((pretrain(plan, folder / f"run{number}", print).out, tested))
    return parts


def summary(rows: Sequence[dict[str, object]], layers: Sequence[str]) -> dict[str, str]:
    """Mean and standard deviation over seeds."""
    summaries = {}
    for layer in layers:
        for network in ("random", "pretrained"):
            own = [r for r in rows if (r["layer"], r["network"]) == (layer, network)]
            values = {k: np.array([r[k] for r in own], float) for k in ("wa", "ua")}
            spread = {k: v.std(ddof=1) if len(v) > 1 else float("nan") for k, v in values.items()}
            summaries[f"layer {layer}, {network}"] = ", ".join(
                f"{k.upper()} {v.mean():.1f} ± {spread[k]:.1f}" for k, v in values.items()
            )
    return summaries


if __name__ == "__main__":
    main()
