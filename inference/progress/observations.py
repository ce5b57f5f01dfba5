"""The progress bar of work that goes from observation to observation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich import progress

from vae4counts.inference.progress.stream import Stream


class _Speed(progress.ProgressColumn):
    def render(self, task: progress.Task) -> str:
        """Return how many observations a second there were."""
        speed = task.finished_speed or task.speed
        return "" if speed is None else f"{speed:,.0f} observations a second"


@contextmanager
def observation_bar(title: str, total: int, *, visible: bool) -> Iterator[Callable[[int], None]]:
    """Show how many observations are done, on a terminal, or in a notebook that has ipywidgets.

    Args:
        title: What is done to them.
        total: How many there are.
        visible: Whether to show anything.

    Yields:
        What to call with the number of those that have been done since the last call.
    """
    console = Stream()
    can_show = console.is_terminal
    if console.is_jupyter:  # where rich would warn, instead of showing anything
        can_show = find_spec("ipywidgets") is not None
    bar = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        _Speed(),
        progress.TimeRemainingColumn(),
        console=console,
        disable=not (visible and can_show),
    )
    with bar:
        task = bar.add_task(title, total=total)
        yield lambda n: bar.update(task, advance=n)
