"""Imports torchaudio and transformers so that they work with any torch.

torchaudio's wheel loads a native extension built against one CUDA release. With a CPU-only torch, or a torch built for
another CUDA minor version, `import torchaudio` therefore fails, and with it transformers' speech models, which import
torchaudio wherever it is installed. Everything used here (Kaldi filter banks, resampling, deltas) is plain Python over
torch, so where the extension cannot load, a stand-in takes its place before transformers is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from emofuse.common.errors import UsageError

_EXTENSION = "torchaudio._extension"
# Clips are read on several threads, and the first of them imports torchaudio: the others wait until it is complete.
_importing = threading.RLock()


def import_torchaudio() -> ModuleType:
    """Import torchaudio, with a stand-in for its native extension where that cannot load.

    Raises:
        UsageError: torch or torchaudio is not installed.
    """
    with _importing:
        if "torchaudio" in sys.modules:
            return sys.modules["torchaudio"]
        require("torch", "torchaudio")
        try:
            return importlib.import_module("torchaudio")
        except (OSError, RuntimeError, ImportError):
            # torchaudio imports its extension first: nothing else of it has run yet.
            for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
                del sys.modules[name]
        sys.modules[_EXTENSION] = _stand_in()
        return importlib.import_module("torchaudio")


def import_transformers() -> ModuleType:
    """Import transformers, after torchaudio where that is installed, without its progress bars and warnings.

    Raises:
        UsageError: torch or transformers is not installed.
    """
    require("torch", "transformers")
    if importlib.util.find_spec("torchaudio") is not None:
        import_torchaudio()
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers  # type: ignore[no-any-return]


def require(*packages: str) -> None:
    """Refuse to continue without `packages`, in one message.

    Raises:
        UsageError: At least one is not installed.
    """
    missing = [p for p in packages if p not in sys.modules and importlib.util.find_spec(p) is None]
    if missing:
        raise UsageError(f"extract needs {', '.join(missing)}, not installed here: pip install 'emofuse[extract]'")


def _stand_in() -> ModuleType:
    module = ModuleType(_EXTENSION, "Replaces torchaudio's native extension, which cannot load with this torch.")
    module.__spec__ = ModuleSpec(_EXTENSION, loader=None)
    # Versions of torchaudio use different names; all are flags (_IS_...) or decorators of native functions.
    module.__getattr__ = _attribute  # type: ignore[method-assign]
    return module


def _attribute(name: str) -> Any:
    if name.startswith("_IS_"):
        return False
    if name.startswith("fail_if_no_"):
        return _refuse
    raise AttributeError(f"module {_EXTENSION!r} has no attribute {name!r}")


def _refuse(function: Callable[..., Any]) -> Callable[..., Any]:
    def refused(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            f"{function.__name__} needs torchaudio's native extension, which cannot load with this torch"
        )

    return refused
