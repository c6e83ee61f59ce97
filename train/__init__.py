"""Stage 2: fits fusion models from feature stores and cross-validates them; needs no transformers and no torchaudio.

From Python: `from emofuse.train import fit`, then `fit(store="cache/iemocap.h5", model="smcn")`.
"""

from typing import TYPE_CHECKING

from emofuse.common.lazy import lazy_exports

if TYPE_CHECKING:
    from emofuse.train.api import fit
    from emofuse.train.comparison.compare import compare
    from emofuse.train.comparison.compare_config import CompareConfig, CompareOptions
    from emofuse.train.comparison.comparison import Comparison
    from emofuse.train.evaluation.config import EvaluateConfig, EvaluateOptions
    from emofuse.train.evaluation.evaluate import evaluate
    from emofuse.train.exporting.config import ExportConfig, ExportOptions
    from emofuse.train.exporting.export import Export, export
    from emofuse.train.resolve.config import FitConfig, FitOptions
    from emofuse.train.runs.finished_run import Run
    from emofuse.train.runs.verification.verify import RunVerification, verify_run
    from emofuse.train.stacking.config import StackConfig, StackOptions
    from emofuse.train.stacking.stack import stack
else:
    __getattr__ = lazy_exports(
        __name__,
        {
            "CompareConfig": "comparison.compare_config",
            "CompareOptions": "comparison.compare_config",
            "Comparison": "comparison.comparison",
            "EvaluateConfig": "evaluation.config",
            "EvaluateOptions": "evaluation.config",
            "Export": "exporting.export",
            "ExportConfig": "exporting.config",
            "ExportOptions": "exporting.config",
            "FitConfig": "resolve.config",
            "FitOptions": "resolve.config",
            "Run": "runs.finished_run",
            "RunVerification": "runs.verification.verify",
            "StackConfig": "stacking.config",
            "StackOptions": "stacking.config",
            "compare": "comparison.compare",
            "evaluate": "evaluation.evaluate",
            "export": "exporting.export",
            "fit": "api",
            "stack": "stacking.stack",
            "verify_run": "runs.verification.verify",
        },
    )

__all__ = [
    "CompareConfig",
    "CompareOptions",
    "Comparison",
    "EvaluateConfig",
    "EvaluateOptions",
    "Export",
    "ExportConfig",
    "ExportOptions",
    "FitConfig",
    "FitOptions",
    "Run",
    "RunVerification",
    "StackConfig",
    "StackOptions",
    "compare",
    "evaluate",
    "export",
    "fit",
    "stack",
    "verify_run",
]
