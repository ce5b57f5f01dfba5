"""Batches that show how far one has come through them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vae4counts.data import Batch, CountLoader
from vae4counts.data.progress.work import observation_bar

# Seconds after which it is worth showing; most questions are answered before.
PATIENCE = 5.0


class WatchedBatches(Iterable[Batch]):
    """The batches of a question to a run, which are shown as they are worked on.

    Nothing is shown of a question that is answered within five seconds.

    Args:
        batches: The batches.
        visible: Whether to show anything.
    """

    def __init__(self, batches: CountLoader, *, visible: bool) -> None:
        self._batches, self._visible = batches, visible

    def __iter__(self) -> Iterator[Batch]:
        total = len(self._batches.counts)
        bar = observation_bar("Asking the model", total, visible=self._visible, after=PATIENCE)
        with bar as advance:
            for batch in self._batches:
                yield batch
                advance(batch.whole.size)
