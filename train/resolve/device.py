"""The device of a fit, by the name that the user gives."""

from __future__ import annotations

import torch

from emofuse.common.errors import UsageError


def find_device(name: str) -> torch.device:
    """The device called `auto` (the first CUDA device if there is one, else the CPU), `cpu`, `cuda` or `cuda:N`.

    Raises:
        UsageError: This machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    count = torch.cuda.device_count()
    if name == "cpu" or (kind == "cuda" and (number or "0").isdigit() and int(number or 0) < count):
        return torch.device(name)
    valid = ", ".join(["auto", "cpu", *(f"cuda:{i}" for i in range(count))])
    raise UsageError(f"no device {name!r}; valid: {valid}")
