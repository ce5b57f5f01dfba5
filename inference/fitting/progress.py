"""The progress bars of a fit."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich import progress

from vae4counts.inference.fitting.history import EpochRecord
from vae4counts.inference.progress.stream import Stream


class ProgressBars:
    """A bar for each phase of a fit, with the validation ELBO of the last epoch.

    Args:
        visible: Whether to show anything.
    """

    def __init__(self, *, visible: bool) -> None:
        self._bars = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("epochs, validation ELBO {task.fields[elbo]}"),
            progress.TimeElapsedColumn(),
            console=Stream(),
            disable=not visible,
        )

    def __enter__(self) -> ProgressBars:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def phase(self, title: str, epochs: int) -> Callable[[EpochRecord], None]:
        """Add a bar and return what to call after each of its epochs."""
        task = self._bars.add_task(title, total=epochs, elbo="-")

        def report(record: EpochRecord) -> None:
            self._bars.update(task, advance=1, elbo=f"{record.validation_elbo:.2f}")

        return report
