"""A run: a trained pair, how it is stored, and how new data meet it."""

from .run import Run

__all__ = ["Run"]
