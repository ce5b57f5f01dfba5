"""Warnings at the line of a person's own code that they are about."""

from __future__ import annotations

import sys
import warnings
from types import FrameType


def warn(message: str | Warning, category: type[Warning] | None = None) -> None:
    """Warn as `warnings.warn` does, at the line outside of this package that has called it."""
    frame: FrameType | None = sys._getframe()
    level = outermost = 0
    while frame is not None:
        level += 1
        if frame.f_globals.get("__name__", "").partition(".")[0] == "vae4counts":
            outermost = level
        frame = frame.f_back
    warnings.warn(message, category, stacklevel=outermost + 1)
