"""Show how far long work has come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vae4counts.data.progress.stream import Stream
from vae4counts.data.progress.task import Task
from vae4counts.data.progress.views import Hidden, Late, Lines, NotebookBar, TerminalBar, View


@contextmanager
def shown(task: Task, *, visible: bool = True, after: float = 0.0) -> Iterator[View]:
    """Show a task on standard error: a bar in a terminal or a notebook, lines anywhere else.

    Args:
        task: What is done. Whoever changes it calls `View.show`.
        visible: Whether to show anything.
        after: Seconds that it has to take to be shown.

    Yields:
        What shows the task.
    """
    view: View = Hidden(task)
    if visible:
        view = Late(task, after, _view_of) if after else _view_of(task)
    try:
        yield view
    finally:
        view.close()


@contextmanager
def observation_bar(
    title: str, total: int, *, visible: bool, after: float = 0.0
) -> Iterator[Callable[[int], None]]:
    """Show how many observations are done, and how many a second.

    Args:
        title: What is done to them.
        total: How many there are.
        visible: Whether to show anything.
        after: Seconds that it has to take to be shown.

    Yields:
        What to call with the number of those that have been done since the last call.
    """
    task = Task(title, "observations", total)
    with shown(task, visible=visible, after=after) as view:

        def advance(n: int) -> None:
            task.done += n
            task.note = "" if task.speed is None else f"{task.speed:,.0f} a second"
            view.show()

        yield advance


def _view_of(task: Task) -> View:
    console = Stream(stderr=True)
    if console.is_jupyter:
        return NotebookBar(task)
    # FORCE_COLOR asks for colours in a file, not for a bar that moves in it
    if console.is_interactive and console.file.isatty():
        return TerminalBar(task, console)
    return Lines(task, console)
