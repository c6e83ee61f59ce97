"""To and from what other labs have: features in their formats, joined by utterance id."""

# Each format registers itself on import; the list is explicit, nothing is scanned.
import emofuse.store.exchange.formats.emotion2vec
import emofuse.store.exchange.formats.lhotse
import emofuse.store.exchange.formats.mmsa
import emofuse.store.exchange.formats.npy
import emofuse.store.exchange.formats.parquet  # noqa: F401
from emofuse.store.exchange.exporting import Exported, export
from emofuse.store.exchange.importing import Import, Imported, import_feature
from emofuse.store.exchange.registry import FORMATS
from emofuse.store.exchange.report import Report

__all__ = ["FORMATS", "Exported", "Import", "Imported", "Report", "export", "import_feature"]
