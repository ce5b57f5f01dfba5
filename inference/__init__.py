"""From a model/guide pair and data to results."""

from .fit import fit
from .posterior.comparison import compare
from .posterior.evaluation import Evaluation, evaluate
from .processes import ProcessError
from .run import Run
from .settings import SettingsError
from .storage import RunDirectoryError
from .training.checkpoints import CheckpointError
from .training.components import AnalyticKL, Balance, FreeNats
from .training.finite import NonFiniteError, TrainingError
from .training.interruption import FitInterrupted
from .training.tempering import CyclicalAnnealing, KLWarmUp

__all__ = [
    "AnalyticKL",
    "Balance",
    "CheckpointError",
    "CyclicalAnnealing",
    "Evaluation",
    "FitInterrupted",
    "FreeNats",
    "KLWarmUp",
    "NonFiniteError",
    "ProcessError",
    "Run",
    "RunDirectoryError",
    "SettingsError",
    "TrainingError",
    "compare",
    "evaluate",
    "fit",
]
