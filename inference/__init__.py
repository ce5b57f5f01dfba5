"""From a model/guide pair and data to results."""

from .fit import SettingsError, fit
from .posterior.comparison import compare
from .posterior.evaluation import Evaluation, evaluate
from .run import Run
from .storage import RunDirectoryError
from .training.loop import TrainingError

__all__ = [
    "Evaluation",
    "Run",
    "RunDirectoryError",
    "SettingsError",
    "TrainingError",
    "compare",
    "evaluate",
    "fit",
]
