"""The progress of work: a bar in a terminal or a notebook, lines of text anywhere else."""

from __future__ import annotations

import io
import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from vae4counts.data.progress.stream import Stream
from vae4counts.data.progress.task import Task
from vae4counts.data.progress.views import Lines, NotebookBar, TerminalBar
from vae4counts.data.progress.work import observation_bar, shown


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock() -> Clock:
    return Clock()


def lines_of(task: Task, clock: Clock, seconds_each: float, end: int) -> list[tuple[float, str]]:
    """When there is a line, and which, if each unit takes so many seconds in eight steps."""
    file = io.StringIO()
    view = Lines(task, Stream(file=file, width=20))
    said = []
    for step in range(int(task.done * 8) + 1, 8 * end + 1):
        clock.now += seconds_each / 8
        task.done = step / 8
        view.show()
        if step == 8 * end:
            view.close()
        text = file.getvalue()
        said += [(task.done, line) for line in text.splitlines()]
        file.truncate(0), file.seek(0)
    return said


def test_what_is_said_of_a_task(clock: Clock) -> None:
    task = Task("training", "epochs", 1200, done=200, clock=clock)
    assert str(task) == "training: 200 of 1,200 epochs (17%), 0:00:00"
    clock.now += 75
    task.done, task.note = 450.5, "ELBO -3.10"
    # 250.5 in 75 seconds, and 749.5 to come: what was done before took no time
    assert str(task) == "training: 450 of 1,200 epochs (38%), ELBO -3.10, 0:01:15, 0:03:44 left"
    assert task.seconds_left == pytest.approx(749.5 / 250.5 * 75)
    assert str(Task("x.h5", "MB", None, clock=clock)) == "x.h5: 0 MB, 0:00:00"


def test_a_long_task_has_a_line_at_once_and_few_more(clock: Clock) -> None:
    said = lines_of(Task("training", "epochs", 100, is_long=True, clock=clock), clock, 1.0, 100)
    assert [done for done, _ in said] == [1, *range(11, 101, 10), 100]
    assert said[0][1] == "training: 1 of 100 epochs (1%), 0:00:01, 0:01:39 left"
    assert said[-1][1] == "training: 100 of 100 epochs (100%), 0:01:40"


def test_slow_units_have_a_line_a_minute(clock: Clock) -> None:
    said = lines_of(Task("training", "epochs", 10, is_long=True, clock=clock), clock, 480.0, 2)
    assert [done for done, _ in said] == [k / 8 for k in range(1, 17)]


def test_work_of_a_moment_has_none(clock: Clock) -> None:
    assert lines_of(Task("refining", "observations", 100, clock=clock), clock, 0.05, 100) == []
    # a training of a moment has two, one of them when it stops early
    task = Task("training", "epochs", 100, is_long=True, clock=clock)
    assert [done for done, _ in lines_of(task, clock, 0.05, 60)] == [1, 60]


def test_the_first_line_of_a_continued_task_comes_with_its_first_unit(clock: Clock) -> None:
    task = Task("training", "epochs", 100, done=40.5, is_long=True, clock=clock)
    assert [done for done, _ in lines_of(task, clock, 1.0, 42)] == [41, 42]


class Buffered(io.StringIO):
    """A file that shows only what was flushed, as a pipe does."""

    written = ""

    def flush(self) -> None:
        self.written = self.getvalue()


def test_a_line_is_written_out_at_once(clock: Clock) -> None:
    file, task = Buffered(), Task("training", "epochs", 2, is_long=True, clock=clock)
    view = Lines(task, Stream(file=file))
    task.done = 1
    view.show()
    assert file.written == "training: 1 of 2 epochs (50%), 0:00:00\n"


@pytest.mark.parametrize("environment", [{}, {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}])
def test_a_pipe_has_plain_lines(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with shown(Task("training", "epochs", 2, is_long=True)) as view:
        assert isinstance(view, Lines)
        view.task.done, view.task.note = 1, "validation ELBO -12.50"
        view.show()
        said = capsys.readouterr()
    assert re.fullmatch(
        r"training: 1 of 2 epochs \(50%\), validation ELBO -12.50, 0:00:00(, 0:00:00 left)?\n",
        said.err,
    )
    assert said.out == ""


@pytest.mark.parametrize(
    ("terminal", "kind", "escapes"),
    [("xterm", TerminalBar, True), ("dumb", Lines, False), ("unknown", Lines, False)],
)
def test_a_terminal_has_a_bar_if_it_can_move(
    terminal: str, kind: type[Any], escapes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.setattr("sys.stderr", Terminal())
    with shown(Task("training", "epochs", 2, is_long=True)) as view:
        assert isinstance(view, kind)
        view.task.done, view.task.note = 2, "[ELBO]"
        view.show()
    said = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "2 of 2 epochs" in said
    assert "[ELBO]" in said
    assert ("\x1b[" in said) == escapes


def test_a_bar_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    file = Terminal()
    view = TerminalBar(Task("training", "epochs", 2), Stream(file=file))
    view.task.done = 2
    view.show()
    view.close()
    colours = re.findall(r"\x1b\[([\d;]*)m", file.getvalue())
    assert not [code for code in colours if code not in ("", "0", "1", "2")]


class Notebook:
    """Stands for IPython's display: keeps all that an output has shown."""

    def __init__(self) -> None:
        self.outputs: list[list[tuple[str, str]]] = []

    def display(self, shown: Any, *, display_id: bool) -> SimpleNamespace:
        assert display_id
        output = [self._forms(shown)]
        self.outputs.append(output)
        return SimpleNamespace(update=lambda new: output.append(self._forms(new)))

    def _forms(self, shown: Any) -> tuple[str, str]:
        return repr(shown), shown._repr_html_()


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    made = Notebook()
    monkeypatch.setattr("IPython.display.display", made.display)
    monkeypatch.setattr(Stream, "is_jupyter", True, raising=False)
    return made


def test_a_notebook_keeps_one_output_with_the_end(notebook: Notebook, clock: Clock) -> None:
    task = Task("a <b>", "epochs", 50, clock=clock)
    view = NotebookBar(task)
    for done in range(1, 41):
        task.done = done
        view.show()
    view.close()
    (output,) = notebook.outputs
    assert len(output) < 40  # redrawn a few times a second
    text, html = output[-1]
    assert text == "a <b>: 40 of 50 epochs (80%), 0:00:00"
    assert html == (
        '<div><progress value="0.800" max="1" aria-label="a &lt;b&gt;"></progress> '
        "a &lt;b&gt;: 40 of 50 epochs (80%), 0:00:00</div>"
    )


def test_what_takes_a_moment_is_not_shown(
    clock: Clock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stderr", Terminal())
    with shown(Task("Asking", "observations", 9, clock=clock), after=5.0) as view:
        for seconds, done in ((4.0, 3), (6.0, 6)):
            clock.now = 100.0 + seconds
            view.task.done = done
            view.show()
            said = sys.stderr.getvalue()  # type: ignore[attr-defined]
            assert ("6 of 9 observations" in said) == (seconds > 5), said


def test_observations_say_how_many_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    with observation_bar("Refining", 10, visible=False) as advance:
        advance(10)
    with observation_bar("Refining", 10, visible=True) as advance:
        advance(10)
    assert capsys.readouterr().err == ""  # of a moment's work
