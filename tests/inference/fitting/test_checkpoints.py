"""Checkpoints are whole or absent, and damage is found before they are used."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors import SafetensorError

from vae4counts.inference.fitting import checkpoints
from vae4counts.inference.fitting import signals as interruption
from vae4counts.inference.fitting.checkpoints import (
    CheckpointError,
    CheckpointFiles,
    found,
    latest,
    read,
)
from vae4counts.inference.fitting.signals import stop_requests
from vae4counts.inference.fitting.state import State
from vae4counts.inference.run import storage


def state(number: int = 0, size: int = 5) -> State:
    return State({"number": number, "best": float("-inf")}, {"a.b": torch.arange(size) + number})


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A directory with two checkpoints."""
    saving = CheckpointFiles(tmp_path / "fit", 1)
    assert saving.write(1, state(1))
    assert saving.write(2, state(2))
    return tmp_path / "fit"


def test_what_is_written_is_read(two: Path) -> None:
    for number in (1, 2):
        result = read(two / f"step-{number:09d}")
        assert result.values == state(number).values
        assert torch.equal(result.tensors["a.b"], state(number).tensors["a.b"])
    path, last = latest(two) or (None, state())
    assert path == two / "step-000000002"
    assert last.values["number"] == 2


def test_the_last_two_are_kept(two: Path) -> None:
    assert CheckpointFiles(two, 1).write(3, state(3))
    assert [path.name for path in sorted(two.iterdir())] == ["step-000000002", "step-000000003"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change(**fields: Any) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    return edit


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    ("tensors.safetensors", cut, "tensors.safetensors is damaged: its SHA-256"),
    ("tensors.safetensors", flip, "tensors.safetensors is damaged: its SHA-256"),
    ("tensors.safetensors", Path.unlink, "tensors.safetensors is missing"),
    ("state.json", cut, "state.json is damaged: its SHA-256"),
    ("state.json", Path.unlink, "state.json is missing"),
    ("checkpoint.json", cut, "checkpoint.json is broken: Expecting"),
    ("checkpoint.json", Path.unlink, "checkpoint.json is missing"),
    (
        "checkpoint.json",
        change(format=1, version="0.1.0"),
        "format is 1, .* with version 0.1.0, or",
    ),
    ("checkpoint.json", change(format=3), "checkpoint.json: format is 3, .* reads only 2: finish"),
    ("checkpoint.json", change(kind="x"), "checkpoint.json: kind is 'x'"),
    ("checkpoint.json", change(sha256={}), "checkpoint.json is broken: 'state.json'"),
]


@pytest.mark.parametrize(("name", "damage", "said"), DAMAGE)
def test_a_damaged_one_is_named_and_the_one_before_it_used(
    name: str, damage: Callable[[Path], object], said: str, two: Path
) -> None:
    damage(two / "step-000000002" / name)
    with pytest.warns(UserWarning, match=f"{said}.*; the fit continues from step-000000001"):
        path, last = latest(two) or (None, state())
    assert path == two / "step-000000001"
    assert last.values["number"] == 1
    damage(two / "step-000000001" / name)
    with pytest.raises(CheckpointError, match=f"step-000000002.*{said}"):
        latest(two)


def test_a_damaged_one_is_replaced(two: Path) -> None:
    cut(two / "step-000000002" / "state.json")
    assert CheckpointFiles(two, 1).write(2, state(2))
    assert read(two / "step-000000002").values["number"] == 2


def test_half_written_ones_are_cleared_away(two: Path) -> None:
    (two / ".unfinished-step-000000003").mkdir()
    (two / ".unfinished-step-000000003" / "state.json").write_text("{")
    assert len(found(two)) == 2
    CheckpointFiles(two, 1)
    assert sorted(two.iterdir()) == found(two)


def full(*_: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("home", "place"),
    [(checkpoints, "save_file"), (checkpoints, "_sha256"), (storage, "flush")],
)
def test_a_full_disk_costs_a_checkpoint_and_no_more(home: Any, place: str, two: Path) -> None:
    saving = CheckpointFiles(two, 1)
    with (
        patch.object(home, place, side_effect=full),
        pytest.warns(UserWarning, match="no checkpoint could be written to .*No space left"),
    ):
        assert not saving.write(3, state(3))
    if place == "flush":  # of the last directory too: the rename may have gone well
        assert not (two / ".unfinished-step-000000003").exists()
    assert sorted(two.iterdir()) == found(two)
    assert saving.write(4, state(4))
    assert read(two / "step-000000004").values["number"] == 4


def test_a_file_that_cannot_grow_is_no_crash(two: Path) -> None:
    """The system refuses the second half of the file."""
    saving = CheckpointFiles(two, 1)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, hard))
    try:
        with pytest.warns(UserWarning, match="no checkpoint could be written"):
            assert not saving.write(3, state(3, 2**16))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert sorted(two.iterdir()) == found(two)
    assert len(found(two)) == 2


def test_a_directory_that_is_gone_or_taken(tmp_path: Path) -> None:
    saving = CheckpointFiles(tmp_path / "fit", 1)
    (tmp_path / "fit").rmdir()
    assert saving.write(1, state())  # it is made anew
    taken = CheckpointFiles(tmp_path / "other", 1)
    (tmp_path / "other").rmdir()
    (tmp_path / "other").write_text("a file")
    with pytest.warns(UserWarning, match="no checkpoint could be written"):
        assert not taken.write(1, state())


def test_a_directory_that_may_not_be_written_to(two: Path) -> None:
    if os.geteuid() == 0:
        with (  # root may write everywhere
            patch.object(Path, "mkdir", side_effect=PermissionError(errno.EACCES, "denied")),
            pytest.warns(UserWarning, match="no checkpoint could be written.*denied"),
        ):
            assert not CheckpointFiles.write(_made(two), 3, state())
        return
    two.chmod(0o500)
    with pytest.warns(UserWarning, match="no checkpoint could be written"):
        assert not CheckpointFiles(two, 1).write(3, state())


def _made(directory: Path) -> CheckpointFiles:
    with patch.object(Path, "mkdir"):
        saving = CheckpointFiles.__new__(CheckpointFiles)
        saving.directory = directory
    return saving


def test_broken_tensors_are_no_crash(two: Path) -> None:
    with (
        patch.object(checkpoints, "save_file", side_effect=SafetensorError("I/O")),
        pytest.warns(UserWarning, match="no checkpoint could be written"),
    ):
        assert not CheckpointFiles(two, 1).write(3, state())


def test_the_interval_is_of_steps_or_of_a_clock_that_never_goes_back(tmp_path: Path) -> None:
    by_steps = CheckpointFiles(tmp_path, 3)
    assert [by_steps.is_due(step) for step in range(1, 7)] == [False, False, True] * 2
    now = 100.0
    with (
        patch.object(checkpoints, "monotonic", lambda: now),
        patch("time.time", side_effect=AssertionError("a clock that people set")),
    ):
        by_time = CheckpointFiles(tmp_path, timedelta(minutes=1))
        assert not by_time.is_due(1)
        now = 160.0
        assert by_time.is_due(2)
        by_time.write(2, state())
        assert not by_time.is_due(3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_does_what_it_did(number: int) -> None:
    got = []
    before = signal.signal(number, lambda *_: got.append("second"))
    try:
        with stop_requests() as request:
            signal.raise_signal(number)
            assert request.number == number
            assert not got
            signal.raise_signal(number)
            assert got == ["second"]
        assert got == ["second"] * 2  # a signal that was not obeyed is sent again
    finally:
        signal.signal(number, before)


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_requests() as request:
            signal.raise_signal(signal.SIGINT)
            assert request.number is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_signals_alone() -> None:
    found_there = []

    def look() -> None:
        with stop_requests():
            found_there.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found_there == [signal.getsignal(signal.SIGTERM)]
    assert interruption.SIGNALS == (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


ENDLESS = """
import sys, torch
from pathlib import Path
from vae4counts.inference.fitting.checkpoints import CheckpointFiles
from vae4counts.inference.fitting.state import State
from vae4counts.inference.run import storage
saving = CheckpointFiles(Path(sys.argv[1]), 1)
print("ready", flush=True)
for step in range(1, 10**6):
    saving.write(step, State({"number": step}, {"a": torch.full((2**18,), float(step))}))
"""


@pytest.mark.slow
def test_killed_while_writing(tmp_path: Path) -> None:
    """Whenever the process dies, the last checkpoint that has its name is whole."""
    command = [sys.executable, "-c", ENDLESS, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)  # noqa: S603
    assert process.stdout is not None
    process.stdout.readline()
    while len(found(tmp_path)) < 2:
        time.sleep(0.01)
    time.sleep(0.1)
    process.kill()
    process.wait()
    process.stdout.close()
    path, last = latest(tmp_path) or (None, state())
    assert path is not None
    assert path.name == f"step-{last.values['number']:09d}"
    assert (last.tensors["a"] == last.values["number"]).all()
    CheckpointFiles(tmp_path, 1)
    assert sorted(tmp_path.iterdir()) == found(tmp_path)
