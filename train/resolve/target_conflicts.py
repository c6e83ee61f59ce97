"""Settings and options that the target of a protocol does not have."""

from __future__ import annotations

from emofuse.manifests.metrics.scores import METRICS, VALUE_METRICS, short_name
from emofuse.manifests.targets.scoring import valid_metrics
from emofuse.manifests.targets.target import Target
from emofuse.train.models.config import Config
from emofuse.train.models.criterion import LOSSES
from emofuse.train.resolve.config import FitConfig


def target_conflicts(config: FitConfig, settings: Config, target: Target) -> list[str]:
    """What has no meaning for the target, one line each, with what is valid."""
    kind, found = target.kind, list[str]()
    losses = LOSSES[kind]
    if settings.loss not in ("auto", *losses):
        found.append(f"--set loss={settings.loss}: the target is {kind}; valid: auto, {', '.join(losses)}")
    of_class = {
        "label_smoothing": settings.label_smoothing,
        "logit_adjustment": settings.logit_adjustment,
        "balance": settings.balance == "class",
    }
    if not target.has_class:
        found += [
            f"--set {n}: the target is {kind}, without one class an utterance" for n, on in of_class.items() if on
        ]
    if settings.focal and kind not in ("classes", "classes+dimensions"):
        found.append(f"--set focal: the focal loss is of one class, and the target is {kind}")
    if settings.ratings_weight != 1 and kind != "classes+dimensions":
        found.append(f"--set ratings_weight: it weighs ratings beside a class, and the target is {kind}")
    if settings.rater_dropout and kind != "distribution":
        found.append(f"--set rater_dropout: only a distribution has raters, and the target is {kind}")
    if kind == "dimensions" and config.class_weights != "none":
        found.append(f"--class-weights {config.class_weights}: the target is dimensions, without classes")
    if config.calibrate != "none" and not target.has_class:
        found.append(
            f"--calibrate {config.calibrate}: a temperature is of class probabilities, and the target is {kind}"
        )
    known = [m for m in config.metrics if m in METRICS or m.partition("_")[0] in VALUE_METRICS or m in VALUE_METRICS]
    unknown = [m for m in known if m not in valid_metrics(target)]
    if unknown:
        named = ", ".join(map(short_name, unknown))
        found.append(f"--metrics: {named} is not of the target {kind}; valid: {', '.join(valid_metrics(target))}")
    return found
