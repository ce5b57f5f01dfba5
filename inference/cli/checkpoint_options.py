"""When the state of a fit is saved, chosen on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from vae4counts.inference.fitting.options import Checkpoints, Options, SettingsError, option


@dataclass(frozen=True)
class CheckpointOptions(Options):
    """When the state of an unfinished fit is saved, and whether to continue from it."""

    checkpoint_minutes: float = option(
        5.0, "Minutes between two checkpoints of an unfinished fit.", minimum=0.001
    )
    resume: bool = option(
        False,
        "Continue the fit that the same command began: from the last checkpoint in OUT.partial, "
        "or, if training has ended, by making what OUT lacks.",
    )

    def in_directory(self, directory: Path) -> Checkpoints:
        """Return where and how often `fit` saves checkpoints."""
        try:
            every = timedelta(minutes=self.checkpoint_minutes)
        except OverflowError:
            raise SettingsError(
                f"checkpoint_minutes is {self.checkpoint_minutes}: it must be less than a million"
            ) from None
        return Checkpoints(directory, every, self.resume)
