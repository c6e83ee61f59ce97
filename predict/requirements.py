"""Whether the inputs have what a run reads, before any encoder is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from emofuse.common.problems import Problems
from emofuse.manifests.schema import Excluded
from emofuse.predict.config import PredictConfig
from emofuse.predict.recordings.inputs import Inputs

_REMEDIES = {
    "audio": "pass audio files, or a manifest with a column audio",
    "text": "pass --text, a manifest with a column text, or --transcribe MODEL",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What the models of a run read."""

    modalities: Sequence[str]
    """Audio, text or both."""
    may_lack: Callable[[Sequence[str]], bool]
    """Whether the models can do without some modalities."""

    def check(self, config: PredictConfig, inputs: Inputs, problems: Problems) -> None:
        """Add every option without effect, and a modality that no input has, to `problems`."""
        only = self.modalities[0] if len(self.modalities) == 1 else None
        if only == "audio":
            for name in ("text", "transcribe"):
                if getattr(config, name):
                    problems.add(f"{name} has no effect: the models of {config.run} read audio alone")
        if config.window is not None and only == "text" and not config.transcribe:
            problems.add(f"window has no effect: the models of {config.run} read text alone")
        elif config.window is not None and "text" in self.modalities and inputs.has("text"):
            problems.add(
                "window cannot divide the words of a clip among its windows: leave window out, or pass recordings "
                "without a text and --transcribe MODEL"
            )
        missing = [m for m in self.modalities if not inputs.has(m) and not self._recognised(m, config, inputs)]
        if inputs.utterances and missing and not self.may_lack(missing):
            problems.add(
                f"the models of {config.run} read {' and '.join(self.modalities)}, and no input has "
                f"{' or '.join(missing)}: {'; '.join(_REMEDIES[m] for m in missing)}"
            )

    def _recognised(self, modality: str, config: PredictConfig, inputs: Inputs) -> bool:
        return modality == "text" and config.transcribe is not None and inputs.has("audio")

    def select(self, inputs: Inputs, *, transcribe: bool) -> Inputs:
        """The inputs without what the models do not read; with `transcribe`, audio stays where there is no text."""
        kept, excluded = [], list(inputs.excluded)
        explained = {item.id for item in excluded}
        for u in inputs.utterances:
            spoken = transcribe and not (u.text or "").strip()
            reduced = replace(
                u,
                audio=u.audio if "audio" in self.modalities or spoken else None,
                text=u.text if "text" in self.modalities else None,
            )
            if reduced.audio is not None or reduced.text is not None:
                kept.append(reduced)
            elif u.id not in explained:
                excluded.append(Excluded(id=u.id, reason=self.reason(self.modalities)))
        return Inputs(utterances=tuple(kept), excluded=tuple(excluded))

    def reason(self, missing: Sequence[str]) -> str:
        """Why a clip without some modalities is excluded."""
        return f"has no {' and no '.join(missing)}, which the models read"

    def missing(self, available: Sequence[str]) -> tuple[str, ...]:
        """The modalities of the models that are not among the `available` ones."""
        return tuple(m for m in self.modalities if m not in available)
