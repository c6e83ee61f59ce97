"""The options that every encoder with weights has: precision and device."""

from __future__ import annotations

from emofuse.common.errors import UnknownNameError, UsageError
from emofuse.extract.encoders.base import EncoderOptions
from emofuse.extract.encoders.weights.messages import first_line

PRECISIONS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""`--precision` -> the name of torch's dtype."""


def check_options(options: EncoderOptions) -> None:
    """Refuse an unknown precision or a device that cannot be used.

    Raises:
        UsageError: Names the problem; an unknown precision also lists the valid ones.
    """
    import torch

    if options.precision not in PRECISIONS:
        raise UnknownNameError("precision", options.precision, PRECISIONS)
    try:
        device = torch.device(options.device)
        torch.empty(1, device=device).cpu()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(f"device {options.device!r} cannot be used here: {first_line(error)}") from None
