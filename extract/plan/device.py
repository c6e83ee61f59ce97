"""The device that computes."""

from __future__ import annotations

from emofuse.common.errors import UsageError


def device_of(requested: str) -> str:
    """The device that `auto`, `cpu`, `cuda` or `cuda:0` means on this machine.

    Raises:
        UsageError: There is no such device.
    """
    import torch

    if requested == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(requested)
    except RuntimeError:
        raise UsageError(f"no device {requested!r}; valid: auto, cpu, cuda, cuda:0") from None
    if device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()):
        count = torch.cuda.device_count()
        raise UsageError(f"no device {requested!r}: {count} CUDA devices are visible to this torch")
    return str(device)


def device_kind(device: str) -> str:
    """`cpu` or `cuda`."""
    return "cuda" if device.startswith("cuda") else "cpu"
