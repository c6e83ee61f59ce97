"""Pages that need both stages: of a run with its models and recordings, of a folder of runs, of a store.

From Python: `from emofuse.report import report`, then `report(path="runs/iemocap4-smcn-1a2b3c4d")`; and
`from emofuse.report import explore`, then `explore(stores="cache/iemocap.h5")`.
"""

from typing import TYPE_CHECKING

from emofuse.common.lazy import lazy_exports

if TYPE_CHECKING:
    from emofuse.report.api import Report, report
    from emofuse.report.config import ReportConfig, ReportOptions
    from emofuse.report.exploration.explore import Exploration, explore
    from emofuse.report.exploration.explore_config import ExploreConfig, ExploreOptions
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "Exploration": "exploration.explore",
            "ExploreConfig": "exploration.explore_config",
            "ExploreOptions": "exploration.explore_config",
            "Report": "api",
            "ReportConfig": "config",
            "ReportOptions": "config",
            "explore": "exploration.explore",
            "report": "api",
        },
    )

__all__ = [
    "Exploration",
    "ExploreConfig",
    "ExploreOptions",
    "Report",
    "ReportConfig",
    "ReportOptions",
    "explore",
    "report",
]
