"""How near `fit` comes to the best possible score, on synthetic data whose truth is known.

    python benchmarks/known_targets.py [--utterances 4000] [--seeds 3]

Each utterance is a vector of six numbers. Its raters vote for one of four classes with probabilities softmax(W x), and
rate valence as w x plus noise. So the best prediction is known: of votes the probabilities themselves, and of ratings
w x, whose CCC is expected to be 2 r² / (1 + r²) for a correlation r with the ratings, or r if w x is stretched to their
deviation. The table has the score of the best prediction on the same test side, around which a fit may fall either way.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import rel_entr

from emofuse.common.disk.run_folder import read_json
from emofuse.common.output.console import format_table, say
from emofuse.datasets.base import ReaderOptions
from emofuse.extract.audio.scan import read_dataset
from emofuse.manifests.jsonl import write_manifest
from emofuse.store.exchange.importing import import_feature
from emofuse.store.exchange.planning import ImportRequest
from emofuse.train import Run, fit

CLASSES, RATERS, CORRELATION = ("a", "b", "c", "d"), 5, 0.6
PROTOCOL = """
corpus = "custom"
source = "synthetic, with a known truth"
{target}
[folds]
by = "split"
disjoint = []
"""
VOTES = 'classes = ["a", "b", "c", "d"]\ntarget = "distribution"\nmetrics = ["kl"]'
LABELS = 'classes = ["a", "b", "c", "d"]\nmetrics = ["ua"]'
RATINGS = 'target = "dimensions"\nmetrics = ["ccc"]\n[dimensions]\nvalence = { low = 1, high = 5 }'
TRAINING = {"lr": 0.01, "batch": 64}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=4000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        header, rows = measure(Path(folder), options.utterances, options.seeds)
    say(format_table(header, rows))


def measure(folder: Path, utterances: int, seeds: int, steps: int = 1500) -> tuple[list[str], list[list[str]]]:
    """The table: what is predicted, by which training, how well, and the best that is possible."""
    probabilities, shares, mean, ratings = _write(folder, utterances)
    test = _sides(utterances) == "test"

    def kl(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
        return float(rel_entr(truth, np.clip(predicted, 1e-12, None)).sum(1).mean())

    rows = []
    train = {**TRAINING, "steps": steps}
    for name, target in (("raters' votes", VOTES), ("label of most votes", LABELS)):
        predicted = _probabilities(_run(folder, target, train, seeds), seeds)
        for truth_name, truth in (("votes", shares[test]), ("true probabilities", probabilities[test])):
            values = [kl(truth, p) for p in predicted]
            best = kl(truth, probabilities[test])
            rows.append([f"KL from the {truth_name}", f"trained on {name}", _text(values), f"{best:.3f}"])
    stretched = 3 + (mean[test] - 3) / CORRELATION
    ceiling = {"mse": ccc(ratings[test], mean[test]), "ccc": ccc(ratings[test], stretched)}
    for loss in ("mse", "ccc"):
        run = _run(folder, RATINGS, {**train, "loss": loss}, seeds)
        values = [read_json(p)["mean"]["ccc"] for p in run.folder.glob("seed_*/metrics.json")]
        rows.append(["CCC with the ratings", f"trained with loss {loss}", _text(values), f"{ceiling[loss]:.3f}"])
    return ["score", "training", "fit", "best possible"], rows


def _sides(utterances: int) -> NDArray[np.str_]:
    return np.array(["train", "train", "train", "train", "dev", "test", "test", "test"])[np.arange(utterances) % 8]


def _write(folder: Path, utterances: int) -> tuple[NDArray[np.float64], ...]:
    """Write the store; return true probabilities, shares of the votes, the mean of all raters, and the ratings."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(utterances, 6)).astype(np.float32)
    logits = vectors @ random.normal(size=(6, len(CLASSES)))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    votes = np.array([random.multinomial(RATERS, p) for p in probabilities])
    weights = random.normal(size=6)
    signal = vectors @ (weights / np.linalg.norm(weights))
    noise = random.normal(size=utterances) * np.sqrt(1 / CORRELATION**2 - 1)
    mean, ratings = 3 + 0.3 * signal, np.clip(3 + 0.3 * (signal + noise), 1, 5)
    (folder / "vectors").mkdir()
    with (folder / "corpus.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "text", "label", "split", "votes", "valence"])
        for i, (vector, counts, side) in enumerate(zip(vectors, votes, _sides(utterances), strict=True)):
            np.save(folder / "vectors" / f"u{i:06d}.npy", vector)
            cast = " ".join(f"{c}:{n}" for c, n in zip(CLASSES, counts, strict=True) if n)
            table.writerow([f"u{i:06d}", f"words {i}", CLASSES[counts.argmax()], side, cast, f"{ratings[i]:.6f}"])
    corpus, _ = read_dataset("custom", folder, None, ReaderOptions(manifest=folder / "corpus.csv"))
    write_manifest(corpus, folder / "corpus.jsonl")
    request = ImportRequest(
        store=folder / "known.h5",
        format="npy",
        source=folder / "vectors",
        name="vectors",
        modality="text",
        manifest=folder / "corpus.jsonl",
        fitted_on="none",
    )
    import_feature(request, quiet=True)
    return probabilities, votes / RATERS, mean, ratings


def ccc(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Lin's concordance correlation."""
    return float(2 * np.mean((x - x.mean()) * (y - y.mean())) / (x.var() + y.var() + (x.mean() - y.mean()) ** 2))


def _run(folder: Path, target: str, settings: Mapping[str, object], seeds: int) -> Run:
    """Fit `linear` on the vectors: its model holds the truth, so only the training keeps it from the best score."""
    protocol = folder / "protocol.toml"
    protocol.write_text(PROTOCOL.format(target=target))
    return fit(
        store=folder / "known.h5",
        model="linear",
        protocol=protocol,
        settings=settings,
        seeds=seeds,
        runs=folder / "runs",
        report=False,
        say=lambda line: None,
    )


def _probabilities(run: Run, seeds: int) -> list[NDArray[np.float64]]:
    """The predicted probabilities of each seed, [test utterances, classes]."""
    with (run.folder / "predictions.csv").open(newline="") as file:
        table = sorted(csv.DictReader(file), key=lambda row: (row.get("seed", ""), row["id"]))
    found = np.array([[float(row[f"p_{c}"]) for c in CLASSES] for row in table])
    return list(found.reshape(seeds, -1, len(CLASSES)))


def _text(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"


if __name__ == "__main__":
    main()
