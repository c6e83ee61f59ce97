"""Libraries that only some uses need, each installed by an extra of emofuse."""

from __future__ import annotations

import importlib
from types import ModuleType

from emofuse.common.errors import UsageError


def optional_library(name: str, extra: str, purpose: str) -> ModuleType:
    """Import an optional library.

    Args:
        name: The module.
        extra: The extra of emofuse that installs it.
        purpose: What needs it, as the subject of the message.

    Raises:
        UsageError: It is not installed; says what to install.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UsageError(f"{purpose} needs {error.name or name}: pip install 'emofuse[{extra}]'") from error
