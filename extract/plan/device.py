"""Which device computes."""

from __future__ import annotations

from emofuse.common.errors import UsageError


def device_of(asked: str) -> str:
    """The device that `auto`, `cpu`, `cuda` or `cuda:0` names here.

    Raises:
        UsageError: There is no such device.
    """
    import torch

    if asked == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError:
        raise UsageError(f"no device {asked!r}; valid: auto, cpu, cuda, cuda:0") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        raise UsageError(f"no device {asked!r}: {torch.cuda.device_count()} CUDA devices are visible to this torch")
    return str(device)
