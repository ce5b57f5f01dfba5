"""A run: a trained pair, how it is stored, how new data meet it, and how runs are compared."""

from .on_data import RunOnData
from .run import Run

__all__ = ["Run", "RunOnData"]
