"""A comparison in words: one sentence for each pair, and what the tests are."""

from __future__ import annotations

from emofuse.common.output.console import plural
from emofuse.manifests.metrics.resampling import narrow_interval
from emofuse.manifests.metrics.scores import definition, goodness, short_name
from emofuse.train.comparison.comparison import Comparison, PairComparison
from emofuse.train.comparison.comparison_tables import has_mcnemar
from emofuse.train.comparison.score_difference import difference, is_raw
from emofuse.train.comparison.statistics.paired_tests import ALPHA, EXACT_DISCORDANT
from emofuse.train.runs.reporting.score_text import p_text


def sentence(pair: PairComparison, comparison: Comparison) -> str:
    """What the first metric says of a pair: who beats whom by how much, or that no difference is shown."""
    metric = comparison.metrics[0]
    found = pair.differences[metric]
    better = goodness(metric, found.value) >= 0
    first, second = (pair.first, pair.second) if better else (pair.second, pair.first)
    sign = 1 if found.value >= 0 else -1
    low, high = sorted(sign * bound for bound in found.interval)
    points = "" if is_raw(metric) else " points"
    amount = f"{difference(metric, abs(found.value))}{points} {short_name(metric)}"
    interval = f"(95 %: {difference(metric, low)} to {difference(metric, high)})"
    p = p_text(found.corrected_p)
    p = f"Holm-corrected {p}" if len(comparison.pairs) > 1 else p
    if found.corrected_p < ALPHA:
        return f"{first} beats {second} by {amount} {interval}; {p}"
    if comparison.smallest_p >= ALPHA:
        return f"No difference can be shown between {first} and {second}: {amount} {interval}; {_limit(comparison)}"
    return f"No difference shown between {first} and {second}: {amount} {interval}; {p}"


def _limit(comparison: Comparison) -> str:
    units = plural(comparison.units.count, comparison.units.kind)
    pairs = f" and {plural(len(comparison.pairs), 'pair')}" if len(comparison.pairs) > 1 else ""
    return f"with {units}{pairs} no p below {comparison.smallest_p:.3g} is possible"


def footnotes(comparison: Comparison) -> list[str]:
    """What the figures are, what each test assumes, and the warnings."""
    return [*definitions(comparison), *warnings(comparison)]


def definitions(comparison: Comparison) -> list[str]:
    """What the figures are, and what each test assumes."""
    pairs, unit = len(comparison.pairs), comparison.units.kind
    holm = f", after Holm's correction over the {pairs} pairs (each metric apart)" if pairs > 1 else ""
    exchanges = "all exchanges" if comparison.exact else f"{comparison.permutations} random exchanges"
    lines = [f"{definition(m)}." for m in comparison.metrics]
    raw = [short_name(m) for m in comparison.metrics if is_raw(m)]
    differences = "differences in points" + (f" (of {' and '.join(raw)} in its own unit)" if raw else "")
    lines += [
        f"Scores and differences: all {comparison.utterances} test predictions pooled, mean over seeds; "
        f"{differences}, first minus second.",
        f"p: two-sided permutation test, {exchanges} of the two runs' predictions of whole {unit}s. "
        f"It decides, at {ALPHA:g}{holm}.",
        f"95 %: percentile bootstrap of the difference, {comparison.resamples} resamples of "
        f"{comparison.units.description}, the same for both runs.",
        f"d: Cohen's d, mean over {unit}s of the difference, in standard deviations of that difference.",
    ]
    if comparison.ratio is not None:
        lines.append(
            "t p: corrected resampled t test over folds and seeds (Nadeau and Bengio 2003), "
            f"n_test/n_train = {comparison.ratio:.3f}."
        )
    assumed = "" if unit == "utterance" else f", which those of one {unit} are not: its p is too small"
    if not has_mcnemar(comparison):
        return lines
    lines.append(
        f"McNemar: utterances that one run alone has right, exact below {EXACT_DISCORDANT} of them, else chi-squared; "
        f"takes utterances as independent{assumed}."
    )
    if any(len(run.seeds) > 1 for run in comparison.runs):
        lines.append("McNemar over several seeds: the pair of seeds with the largest p.")
    return lines


def warnings(comparison: Comparison) -> list[str]:
    """What a reader must know before believing the figures, for every output."""
    lines = _caveats(comparison)
    if comparison.smallest_p >= ALPHA:
        lines.append(f"No difference can be shown: {_limit(comparison)}.")
    if not comparison.units.trusted:
        lines.append(f"The intervals cannot be trusted: {plural(comparison.units.count, comparison.units.kind)}.")
    elif narrow := narrow_interval(comparison.units.count, comparison.units.kind):
        lines.append(f"{narrow}; the permutation test stays valid (`emofuse help comparing`).")
    return [*lines, *comparison.notes]


def _caveats(comparison: Comparison) -> list[str]:
    """The caveats of the runs, each once, with the runs that have it."""
    lines = []
    for caveat in dict.fromkeys(caveat for run in comparison.runs for caveat in run.caveats):
        names = [run.name for run in comparison.runs if caveat in run.caveats]
        who = "All runs" if len(names) == len(comparison.runs) else ", ".join(names)
        lines.append(f"{who}: {caveat}.")
    return lines
