"""A stream that cannot be written to falls silent, and what follows is done all the same."""

from __future__ import annotations

import errno
import io
import subprocess
import sys

import pytest
from rich.progress import Progress
from rich.table import Table

from vae4counts.data.progress.stream import Stream

ERRORS = {
    "no reader": BrokenPipeError(errno.EPIPE, "Broken pipe"),
    "no terminal": OSError(errno.EIO, "Input/output error"),
    "a full disk": OSError(errno.ENOSPC, "No space left on device"),
}


class Closed(io.StringIO):
    """A file that cannot be written to."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self.error = error

    def flush(self) -> None:
        raise self.error


@pytest.mark.parametrize("kind", ERRORS)
def test_it_falls_silent(kind: str) -> None:
    stream = Stream(file=Closed(ERRORS[kind]))
    stream.print("one")
    assert stream.quiet
    stream.print("two")


@pytest.mark.parametrize("kind", ERRORS)
def test_a_bar_goes_on_without_a_reader(kind: str) -> None:
    with Progress(console=Stream(file=Closed(ERRORS[kind]), force_terminal=True)) as bar:
        task = bar.add_task("work", total=2)
        bar.update(task, advance=2)
    assert bar.finished


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_the_interpreter_ends_without_a_word() -> None:
    script = (
        "import sys\n"
        "from vae4counts.data.progress.stream import Stream\n"
        "sys.stdin.read()\n"
        "Stream().print('one')\n"
        "print('done', file=sys.stderr)\n"
    )
    process = subprocess.Popen(  # noqa: S603 (our own code)
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    process.stdin.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert said == "done\n"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape", "backslashreplace"])
def test_nothing_fails_to_be_encoded(encoding: str, errors: str, nasty: tuple[str, ...]) -> None:
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding=encoding, errors=errors)
    stream = Stream(file=file, width=4000)
    table = Table("±", title="細胞")
    for name in (*nasty, "± …"):
        stream.print(name, soft_wrap=True)
        table.add_row(name)
    stream.print(table)
    file.flush()
    lines = written.getvalue().decode(encoding, errors="surrogateescape").splitlines()
    assert "[bold]" in lines
    assert ":smile:" in lines
    if encoding == "ascii":
        assert "+- ..." in lines
        assert r"Z\xe4hlung \u03a9" in lines
    if encoding in ("ascii", "utf-8"):  # the others have a character for that byte
        assert "surrogate\udc80" in lines
