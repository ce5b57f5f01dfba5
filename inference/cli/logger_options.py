"""Where the history of a fit is written while it grows, chosen on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vae4counts.inference.fitting.options import Options, SettingsError, option

if TYPE_CHECKING:
    from vae4counts.inference.fitting.logger import Logger


@dataclass(frozen=True)
class LoggerOptions(Options):
    """Where the history of a fit is written while it grows."""

    logger: str | None = option(
        None,
        "Write the history to a logger of Lightning while the model trains.",
        choices=("csv", "tensorboard"),
    )
    log_folder: str = option(
        "logs", "Folder for it, of which it fills OUT/version_0, or the next one."
    )

    def make(self, out: Path) -> Logger | None:
        """Return the logger; None if none was chosen.

        Args:
            out: The directory of the results, by whose name the logger calls the fit.

        Raises:
            SettingsError: The logger is not installed.
        """
        if self.logger is None:
            return None
        from lightning_fabric.loggers.csv_logs import CSVLogger
        from lightning_fabric.loggers.tensorboard import TensorBoardLogger

        kind = {"csv": CSVLogger, "tensorboard": TensorBoardLogger}[self.logger]
        try:
            return kind(Path(self.log_folder).expanduser(), name=out.name)
        except ModuleNotFoundError:
            raise SettingsError(
                "--logger tensorboard needs TensorBoard: pip install tensorboard"
            ) from None
