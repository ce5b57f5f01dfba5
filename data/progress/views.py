"""Where the progress of work is shown: a terminal, a notebook, or lines of a log."""

from __future__ import annotations

import abc
import math
import time
from collections.abc import Callable

from markupsafe import Markup
from rich import progress as rich
from rich.table import Column

from vae4counts.data.progress.stream import Stream
from vae4counts.data.progress.task import Task

# Seconds between two lines, or between two changes of a notebook's bar.
LONGEST_SILENCE, SHORTEST_SILENCE, REDRAWN_AFTER = 60.0, 10.0, 0.2
# The share of the work that makes a line between these times.
STEP = 0.05


class View(abc.ABC):
    """What shows how far a task has come."""

    def __init__(self, task: Task) -> None:
        self.task = task

    @abc.abstractmethod
    def show(self) -> None:
        """Show the task as it is now, unless that was done a moment ago; called very often."""

    @abc.abstractmethod
    def close(self) -> None:
        """Leave the task as it is in the end."""


class Hidden(View):
    """Nothing at all."""

    def show(self) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Leave nothing."""


class Late(View):
    """Nothing at first, and another view of a task that takes long.

    Args:
        task: The task.
        after: Seconds from which on it is shown.
        make: Makes the other view.
    """

    def __init__(self, task: Task, after: float, make: Callable[[Task], View]) -> None:
        super().__init__(task)
        self._after, self._make = after, make
        self._view: View | None = None

    def show(self) -> None:
        """Show the task if it has taken long enough."""
        if self._view is None and self.task.seconds >= self._after:
            self._view = self._make(self.task)
        if self._view is not None:
            self._view.show()

    def close(self) -> None:
        """Leave what was shown."""
        if self._view is not None:
            self._view.close()


class TerminalBar(View):
    """A bar that moves, by rich.

    Args:
        task: The task.
        console: The terminal.
    """

    def __init__(self, task: Task, console: Stream) -> None:
        super().__init__(task)
        self._bar = rich.Progress(
            # bars of tasks that follow one another begin below one another
            rich.TextColumn("{task.description}", markup=False, table_column=Column(min_width=12)),
            rich.BarColumn(),
            rich.TextColumn("{task.fields[shown].position}", markup=False),
            rich.TextColumn("{task.fields[shown].note}", markup=False),
            rich.TextColumn("{task.fields[shown].times}", markup=False),
            console=console,
            # what is printed meanwhile stands above the bar, unless it goes elsewhere
            redirect_stdout=Stream().is_terminal,
        )
        self._bar.start()
        self._id = self._bar.add_task(task.title, total=task.total, shown=task)
        self.show()

    def show(self) -> None:
        """Move the bar; the terminal is written to ten times a second."""
        self._bar.update(self._id, completed=self.task.done)

    def close(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()


class NotebookBar(View):
    """A bar in the output of a notebook's cell, which stays when the notebook is saved.

    It is an output that is replaced in place, and needs no widgets.
    """

    def __init__(self, task: Task) -> None:
        from IPython.display import display  # there is one where there is a notebook

        super().__init__(task)
        self._shown_at = time.monotonic()
        self._output = display(self, display_id=True)

    def show(self) -> None:
        """Replace the output, a few times a second."""
        if time.monotonic() - self._shown_at >= REDRAWN_AFTER:
            self.close()

    def close(self) -> None:
        """Replace the output."""
        self._shown_at = time.monotonic()
        self._output.update(self)

    def __repr__(self) -> str:
        return str(self.task)

    def _repr_html_(self) -> str:
        share = self.task.share
        value = Markup("") if share is None else Markup('value="{:.3f}"').format(share)
        bar = Markup('<div><progress {} max="1" aria-label="{}"></progress> {}</div>')
        return str(bar.format(value, self.task.title, self))


class Lines(View):
    """Lines of text, as for a log: often enough to see that work goes on, and when it will end.

    There is a line each minute, or after 5 % of the work if that takes at least ten seconds; one
    after the first unit of long work; and one at the end of work that had any. Each is written out
    at once.

    Args:
        task: The task.
        console: Where the lines go.
    """

    def __init__(self, task: Task, console: Stream) -> None:
        super().__init__(task)
        self._console = console
        self._said_at, self._said = 0.0, task.done
        self._text = ""

    def show(self) -> None:
        """Write a line if one is due."""
        if self._is_due:
            self._say()

    def close(self) -> None:
        """Write the last line of work that had others."""
        if self._text and self.task.done != self._said:
            self._say()

    @property
    def _is_due(self) -> bool:
        task, silence = self.task, self.task.seconds - self._said_at
        if task.is_long and not self._text and math.floor(task.done) > math.floor(self._said):
            return True
        step = math.inf if task.total is None else STEP * task.total
        has_moved = silence >= SHORTEST_SILENCE and task.done - self._said >= step
        return has_moved or silence >= LONGEST_SILENCE

    def _say(self) -> None:
        self._said_at, self._said = self.task.seconds, self.task.done
        self._text = str(self.task)
        self._console.print(self._text, soft_wrap=True, highlight=False)
