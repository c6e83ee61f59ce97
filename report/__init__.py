"""Pages that need both stages: of a run with its models and recordings, of a folder of runs, of a store.

From Python: `from emofuse.report import report`, then `report(path="runs/iemocap4-smcn-1a2b3c4d")`.
"""

from typing import TYPE_CHECKING

from emofuse.common.lazy import lazy_exports

if TYPE_CHECKING:
    from emofuse.report.api import Report, report
    from emofuse.report.config import ReportConfig, ReportOptions
else:
    __getattr__ = lazy_exports(
        __name__, {"Report": "api", "ReportConfig": "config", "ReportOptions": "config", "report": "api"}
    )

__all__ = ["Report", "ReportConfig", "ReportOptions", "report"]
