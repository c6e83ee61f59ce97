"""A run, ready to predict: its models and its encoders, checked against each other and against the inputs."""

from __future__ import annotations

from collections.abc import Iterator

from emofuse.common.errors import UsageError
from emofuse.common.output.console import Say, plural
from emofuse.common.problems import Problems
from emofuse.extract.asr.recogniser import load_recogniser
from emofuse.extract.plan.device import device_of
from emofuse.manifests.schema import Excluded
from emofuse.predict.config import PredictConfig
from emofuse.predict.ensemble import Ensemble
from emofuse.predict.features.encoders import build_run_encoders, text_note
from emofuse.predict.features.run_features import run_features
from emofuse.predict.prediction import Prediction
from emofuse.predict.recordings.inputs import read_inputs
from emofuse.predict.recordings.windows import SEGMENT_SECONDS
from emofuse.predict.requirements import Requirements
from emofuse.predict.stream import PredictionStream
from emofuse.train.models.config import longest_input
from emofuse.train.resolve.dialogues import CONTEXT
from emofuse.train.resolve.fit_plan import title_of
from emofuse.train.resolve.speakers import BY_SPEAKER
from emofuse.train.runs.finished_run import Run
from emofuse.train.runs.reporting.caveats import caveats


class Predictor:
    """Loads the models and encoders of a run.

    Args:
        config: The options.
        say: Reports what is asked, and what a reader of the predictions must know.

    Raises:
        UsageError: Wrong options or inputs, weights that are not at hand, or an encoder that is not the run's.
        DataError: A damaged run, or damaged weights.
    """

    def __init__(self, config: PredictConfig, say: Say) -> None:
        problems = Problems()
        config.check(problems)
        problems.raise_all()
        with problems.collecting():
            self.run = Run.open(config.run)
            _refuse_standardised_by_speaker(self.run)
            _refuse_dialogues(self.run)
        with problems.collecting():
            inputs = read_inputs(config.inputs, config.text)
        with problems.collecting():
            device = device_of(config.device)
        problems.raise_all()
        self.config, self._say = config, say
        self.ensemble = Ensemble(self.run, config.fold, device, final=config.refit)
        self.requirements = Requirements(modalities=self.ensemble.modalities, may_lack=self.ensemble.may_lack)
        self.requirements.check(config, inputs, problems)
        problems.raise_all()
        self.inputs = self.requirements.select(inputs, transcribe=config.transcribe is not None)
        self.features = run_features(self.run, self.ensemble.modalities, {model.fold for model in self.ensemble.models})
        self.jobs = build_run_encoders(self.features, config.weights, device)
        self.recogniser = load_recogniser(config.transcribe, device, config.language) if config.transcribe else None
        self.excluded: list[Excluded] = []
        """What could not be predicted, with reasons; complete when `predictions` has ended."""

    def predictions(self) -> Iterator[Prediction]:
        """Predict one batch of clips after the other, in their order; memory does not grow with their number.

        What cannot be predicted is listed on stderr and in `excluded`.

        Raises:
            UsageError: No clip can be predicted; names the first reason.
            DataError: A full disk.
        """
        for line in self._header():
            self._say(line)
        stream = PredictionStream(
            config=self.config,
            ensemble=self.ensemble,
            requirements=self.requirements,
            jobs=self.jobs,
            recogniser=self.recogniser,
            excluded=self.excluded,
        )
        yield from stream.predictions(self.inputs)

    def _header(self) -> Iterator[str]:
        models, record = self.ensemble.models, self.run.config["run"]
        asked = (
            "the final model, trained on all data"
            if self.config.refit
            else f"fold {models[0].fold}"
            if len(models) == 1
            else f"the mean of {plural(len(models), 'model')} ({plural(len({m.fold for m in models}), 'fold')}, "
            f"{plural(len({m.seed for m in models}), 'seed')})"
        )
        yield (
            f"{plural(len(self.inputs.utterances), 'clip')}; {title_of(record['model'], record.get('ablation'))} of "
            f"{self.run.folder}, {asked}; {self.ensemble.target.described}"
        )
        for caveat in caveats(self.run.metrics):
            yield f"note on the run: {caveat}"
        if self.recogniser and (note := text_note(self.features, self.recogniser.source)):
            yield f"note: {note}"
        yield from self._length_notes()

    def _length_notes(self) -> Iterator[str]:
        """A note where the models read less of a clip than it may be long."""
        settings = self.ensemble.models[0].recipe.settings
        rate = next((job.encoder.frame_rate for job in self.jobs if job.encoder.modality == "audio"), None)
        longest = longest_input(settings, "audio")
        if rate and longest and longest / rate < (self.config.window or SEGMENT_SECONDS):
            yield f"note: the models read the first {longest / rate:g} s of a clip or window (max_frames={longest})"


def _refuse_dialogues(run: Run) -> None:
    if CONTEXT in run.metrics:
        raise UsageError(
            f"the model of {run.folder} reads whole dialogues, and predict asks it about single clips: extract a "
            "corpus with the columns dialogue and turn and use emofuse evaluate, or give a run of another model"
        )


def _refuse_standardised_by_speaker(run: Run) -> None:
    if BY_SPEAKER in run.metrics:
        raise UsageError(
            f"{run.folder} standardises each speaker by all clips of his own (--standardise speaker), and a new clip "
            "has no such clips: extract a corpus with speakers and use emofuse evaluate, or give another run"
        )
