"""Stage 1: runs frozen encoders over a corpus, once, and writes their features into a store.

From Python: `from emofuse.extract import extract`, then `extract(dataset="emodb", encoders=["logmel"])`.
"""

from typing import TYPE_CHECKING

from emofuse.common.lazy import lazy_exports

if TYPE_CHECKING:
    from emofuse.extract.api import Extraction, extract, run_extraction
    from emofuse.extract.plan.config import ExtractConfig, ExtractOptions
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "ExtractConfig": "plan.config",
            "ExtractOptions": "plan.config",
            "Extraction": "api",
            "extract": "api",
            "run_extraction": "api",
        },
    )

__all__ = ["ExtractConfig", "ExtractOptions", "Extraction", "extract", "run_extraction"]
