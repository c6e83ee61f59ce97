"""One training step: batch, forward, backward, optimiser; in micro-batches where memory is too small for a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from emofuse.common.errors import UsageError
from emofuse.common.output.console import warn
from emofuse.common.system.machine import is_out_of_memory
from emofuse.train.data.augmented import AugmentedData
from emofuse.train.data.batches import TaskData
from emofuse.train.data.ragged import Indices
from emofuse.train.fitting.batch_changes import BatchChanges
from emofuse.train.fitting.model_file import ModelRecipe
from emofuse.train.models.config import Config
from emofuse.train.models.objective import Objective, class_offsets
from emofuse.train.resolve.config import Precision


class Stepper:
    """A freshly initialised model, its optimiser, and the generator of the model's random draws.

    Args:
        recipe: How the model is built.
        seed: Of the initial weights and of the generator.
        class_weights: [C], of the classes in the loss.
        class_counts: [C], how many training utterances each class has; for the setting `logit_adjustment`.
        precision: Of the matrix products: fp32, tf32 (see `set_product_precision`) or bf16. Weights stay fp32.
    """

    def __init__(
        self,
        recipe: ModelRecipe,
        device: torch.device,
        seed: int,
        class_weights: Tensor | None = None,
        precision: Precision = "fp32",
        class_counts: Tensor | None = None,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = recipe.build().to(device)
        self.model.class_weights = class_weights
        settings = recipe.settings
        self.model.objective = _objective(settings, class_counts)
        optimiser = torch.optim.AdamW if settings.optimiser == "adamw" else torch.optim.Adam
        self.optimiser = optimiser(
            self.model.parameters(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )
        self._clip, self._changes = settings.clip, BatchChanges(settings, seed)
        self.autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
        self.generator = torch.Generator(device).manual_seed(seed)
        self.micro_batch = settings.batch
        """Utterances (or dialogues) in one forward pass at most; halved each time that memory does not suffice."""

    def set_learning_rate(self, rate: float) -> None:
        """Set the learning rate of the steps from now on."""
        for group in self.optimiser.param_groups:
            group["lr"] = rate

    def step(self, data: TaskData | AugmentedData, indices: Indices, progress: float, number: int = 1) -> Tensor:
        """Train on one batch.

        Args:
            indices: The batch's utterances.
            progress: The share of the training that is done, from 0 to 1; some models schedule by it.
            number: Of the step; what is random in the batch follows from it and the seed.

        Returns:
            The loss of the batch, a scalar on the device.

        Raises:
            UsageError: Not even a single utterance fits in memory.
        """
        while True:
            generator_state = self.generator.get_state()
            buffers = [buffer.clone() for buffer in self.model.buffers()]  # the running statistics of batch norm
            try:
                return self._accumulate(data, indices, progress, number)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self.generator.set_state(generator_state)
            for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(before)
            self._halve_micro_batch(min(self.micro_batch, data.examples(indices)), data.unit)

    def _accumulate(self, data: TaskData | AugmentedData, indices: Indices, progress: float, number: int) -> Tensor:
        """One step of the optimiser, on the gradients of all micro-batches together."""
        model, device = self.model.train(), data.labels.device
        changed = self._changes.of_step(data, indices, number)
        self.optimiser.zero_grad(set_to_none=True)
        total = torch.zeros((), device=device)
        for rows in data.micro_batches(indices, self.micro_batch):
            mixture = changed(rows)
            batch = mixture.batch
            audio, _, text, _ = batch.inputs
            frames, words = (0 if x is None else x.shape[1] for x in (audio, text))
            draws = model.draw(len(rows), frames, words, self.generator)
            with self.autocast:
                outputs = model(*batch.inputs, **batch.context, draws=draws, progress=progress)
                loss = model.loss(outputs, batch.labels)
                if mixture.partner_labels is not None:
                    other = model.loss(outputs, mixture.partner_labels)
                    loss = mixture.share * loss + (1 - mixture.share) * other
            if len(rows) < len(indices):
                loss = loss * (len(rows) / len(indices))
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        if self._clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), self._clip)
        self.optimiser.step()
        model.after_step(progress)
        return total

    def _halve_micro_batch(self, tried: int, unit: str) -> None:
        if tried == 1:
            raise UsageError(f"not even a single {unit} fits in memory: free some memory, or choose another --device")
        self.micro_batch = -(-tried // 2)
        if self.generator.device.type == "cuda":
            torch.cuda.empty_cache()
        message = (
            f"{tried} {unit}s at once do not fit in memory: continuing with micro-batches of {self.micro_batch}, "
            "whose gradients add up to the same batch"
        )
        warn(message)


def _objective(settings: Config, class_counts: Tensor | None) -> Objective | None:
    """What replaces cross-entropy in the training steps; None where nothing does."""
    if not (settings.label_smoothing or settings.focal or settings.logit_adjustment):
        return None
    offsets = None
    if settings.logit_adjustment:
        assert class_counts is not None
        offsets = class_offsets(class_counts, settings.logit_adjustment)
    return Objective(smoothing=settings.label_smoothing, focal=settings.focal, offsets=offsets)


def set_product_precision(precision: Precision) -> None:
    """Set whether a GPU computes matrix products, convolutions and recurrences in TF32; torch's default is mixed."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"
