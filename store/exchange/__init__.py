"""Import and export of features in other labs' formats, joined by utterance id."""

from emofuse.store.exchange.exporting import ExportResult, export
from emofuse.store.exchange.importing import ImportResult, import_feature
from emofuse.store.exchange.join_report import JoinReport
from emofuse.store.exchange.planning import ImportRequest
from emofuse.store.exchange.registry import FORMATS

__all__ = ["FORMATS", "ExportResult", "ImportRequest", "ImportResult", "JoinReport", "export", "import_feature"]
