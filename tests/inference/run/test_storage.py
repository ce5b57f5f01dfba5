"""Results of a fit: written at once, while checkpoints exist until then; files replaced whole."""

from __future__ import annotations

import errno
import math
import os
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vae4counts.inference import Run, RunDirectoryError
from vae4counts.inference.run import storage


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "run"


def checkpointed(out: Path) -> Path:
    """As a fit that was killed leaves it."""
    checkpoints = storage.checkpoints_of(out)
    checkpoints.mkdir(parents=True)
    (checkpoints / "1").write_text("state")
    return checkpoints


def test_results_take_the_place_of_checkpoints(run: Run, out: Path) -> None:
    with storage.resumable(out, resume=False) as checkpoints:
        assert checkpoints == out.parent / "run.partial" / "checkpoints"
        checkpointed(out)
        assert not storage.has_ended(out)
        storage.publish(run.write, out)
        assert storage.has_ended(out)
    assert list(out.parent.iterdir()) == [out]
    assert Run.load(out).features == run.features


def fail(step: Callable[[], object]) -> None:
    step()
    raise OSError("disk full")


def test_nothing_is_left_by_an_error_without_checkpoints(out: Path) -> None:
    out.parent.mkdir()
    with pytest.raises(OSError, match="full"), storage.resumable(out, resume=False) as checkpoints:
        fail(lambda: None)
    assert not list(out.parent.iterdir())
    with pytest.raises(OSError, match="full"), storage.resumable(out, resume=False) as checkpoints:
        fail(lambda: checkpoints.mkdir(parents=True))
    assert not list(out.parent.iterdir())


def test_checkpoints_outlive_an_error_and_are_asked_for(run: Run, out: Path) -> None:
    with pytest.raises(OSError, match="full"), storage.resumable(out, resume=False) as checkpoints:
        fail(lambda: checkpointed(out))
    with (
        pytest.raises(RunDirectoryError, match="unfinished fit: continue it with --resume"),
        storage.resumable(out, resume=False),
    ):
        pass
    with storage.resumable(out, resume=True) as again:
        assert again == checkpoints
        assert (checkpoints / "1").exists()
        storage.publish(run.write, out)
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("resume", [False, True])
def test_something_else_is_in_the_way(resume: bool, out: Path) -> None:
    out.mkdir(parents=True)
    (out / "thesis.txt").write_text("precious")
    with (
        pytest.raises(RunDirectoryError, match="not empty"),
        storage.resumable(out, resume=resume),
    ):
        pass
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_a_finished_run_is_in_the_way_unless_it_is_resumed(run: Run, out: Path) -> None:
    run.save(out)
    with (
        pytest.raises(RunDirectoryError, match="holds another run"),
        storage.resumable(out, resume=False),
    ):
        pass
    with storage.resumable(out, resume=True):
        assert storage.has_ended(out)
    assert Run.load(out).features == run.features


def test_results_that_cannot_be_written_leave_the_checkpoints(run: Run, out: Path) -> None:
    checkpoints = checkpointed(out)
    out.mkdir()
    (out / "thesis.txt").write_text("precious")  # while the fit was running
    with pytest.raises(RunDirectoryError, match="not empty"):
        storage.publish(run.write, out)
    assert (checkpoints / "1").exists()
    assert sorted(path.name for path in out.parent.iterdir()) == ["run", "run.partial"]
    (out / "thesis.txt").unlink()
    storage.publish(run.write, out)
    assert list(out.parent.iterdir()) == [out.parent / "run.partial", out]
    assert not checkpoints.exists()


def test_numbers_that_json_does_not_know_cost_no_weights(run: Run, out: Path) -> None:
    odd = {"nan": math.nan, "list": [1.5, -math.inf], "numpy": np.float32(2), "other": Path("x")}
    run.metrics |= odd | {"array": np.array([1, 2]), "elbo": np.float64(-3)}
    run.save(out)
    again = Run.load(out).metrics
    assert {name: again[name] for name in (*odd, "array", "elbo")} == {
        "nan": None,
        "list": [1.5, None],
        "numpy": 2.0,
        "other": "x",
        "array": [1, 2],
        "elbo": -3.0,
    }


@pytest.mark.skipif(os.name != "posix", reason="the umask is one of POSIX")
def test_the_umask_decides_who_may_read(run: Run, out: Path) -> None:
    before = os.umask(0o022)
    try:
        run.save(out)
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}


def test_results_are_on_the_disk_before_checkpoints_go(
    run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[str] = []
    flush, remove = storage.flush, storage.shutil.rmtree

    def noting(path: Path, **_: object) -> None:
        flushed.append(f"remove {path.name}")
        remove(path, ignore_errors=True)

    checkpointed(out)
    monkeypatch.setattr(storage, "flush", lambda path: (flushed.append(path.name), flush(path)))
    monkeypatch.setattr(storage.shutil, "rmtree", noting)
    storage.publish(run.write, out)
    assert flushed[-1] == "remove checkpoints"
    files = {"config.json", "model.safetensors", "metrics.json", "history.csv"}
    assert files | {"results", out.parent.name} == set(flushed[1:-1])


def test_one_process_at_a_time(run: Run, out: Path) -> None:
    with storage.resumable(out, resume=False):
        for resume in (False, True):
            with (
                pytest.raises(RunDirectoryError, match="another process is fitting to"),
                storage.resumable(out, resume=resume),
            ):
                pass
        storage.publish(run.write, out)
    assert list(out.parent.iterdir()) == [out]


def test_the_lock_of_a_killed_process_is_no_hindrance(out: Path) -> None:
    storage.checkpoints_of(out).parent.mkdir(parents=True)
    (out.parent / "run.partial" / "lock").write_text("")
    with storage.resumable(out, resume=False):
        pass
    assert not list(out.parent.iterdir())


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks_costs_a_warning(
    number: int, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "no locks here")

    monkeypatch.setattr(storage.FileLock, "acquire", refuse)
    with pytest.warns(UserWarning, match="cannot be locked"), storage.resumable(out, resume=False):
        pass
    assert not list(out.parent.iterdir())


def test_a_file_system_that_cannot_flush_directories(
    run: Run, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = os.fsync

    def only_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    storage.publish(run.write, out)
    assert storage.has_ended(out)


@pytest.mark.parametrize("name", ["/", "/proc"])
@pytest.mark.skipif(not Path("/proc").is_mount(), reason="of Linux")
def test_a_mount_point_cannot_be_replaced(name: str) -> None:
    with pytest.raises(RunDirectoryError, match="where a file system is mounted"):
        storage.check_free(Path(name))
    with (
        pytest.raises(RunDirectoryError, match="where a file system is mounted"),
        storage.resumable(Path(name), resume=False),
    ):
        pass


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(RunDirectoryError, match="is a file: name a directory"):
        storage.check_free(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("file/below", "Not a directory"),
        ("file/far/below", "Not a directory"),
        ("x" * 248, "File name too long"),  # too long with ".partial" alone
        ("x" * 300, "File name too long"),
        ("taken", "File exists"),  # by a file called taken.partial
    ],
)
def test_a_place_where_nothing_can_be_made_is_said(tmp_path: Path, name: str, reason: str) -> None:
    for file in ("file", "taken.partial"):
        (tmp_path / file).write_text("precious")
    before = sorted(tmp_path.iterdir())
    with (
        pytest.raises(RunDirectoryError, match=f"cannot be made .{reason}.*choose another place"),
        storage.resumable(tmp_path / name, resume=False),
    ):
        pass
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", ["file/below", "x" * 300])
def test_a_run_is_saved_elsewhere(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(RunDirectoryError, match="choose another place"):
        run.save(tmp_path / name)


def test_home_is_known(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    run.save("~/run")
    assert Run.load("~/run").features == run.features
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_killed_at_any_moment(run: Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever step of publishing is the last, checkpoints or whole results exist afterwards."""

    class KilledError(BaseException):
        pass

    steps = 0

    def counted(name: str) -> None:
        nonlocal steps
        steps -= 1
        if steps == 0:
            raise KilledError(name)

    replace, remove, write = Path.replace, storage.shutil.rmtree, storage.write_json
    monkeypatch.setattr(Path, "replace", lambda *x: (counted("replace"), replace(*x))[1])
    monkeypatch.setattr(
        storage.shutil, "rmtree", lambda *x, **y: (counted("rmtree"), remove(*x, **y))[1]
    )
    monkeypatch.setattr(storage, "write_json", lambda *x: (counted("write"), write(*x))[1])
    for last in range(1, 6):  # what a killed process left, config, metrics, replace, checkpoints
        checkpoints = checkpointed(out)
        steps = last
        with pytest.raises(KilledError), storage.resumable(out, resume=True):
            storage.publish(run.write, out)
        steps = 0
        assert storage.has_ended(out) == (last == 5)
        assert storage.has_ended(out) or (checkpoints / "1").exists()
        with storage.resumable(out, resume=True):
            if storage.has_ended(out):
                storage.discard_checkpoints(out)  # known to be of this run
            else:
                storage.publish(run.write, out)
        assert list(out.parent.iterdir()) == [out]
        assert Run.load(out).features == run.features
        remove(out)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with storage.replace_file(path) as staging:
        assert (staging.parent, staging.suffix) == (tmp_path, ".csv")
        staging.write_text("old")
    with storage.replace_file(path) as staging:
        staging.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(OSError, match="full"), storage.replace_file(path) as staging:
        fail(lambda: staging.write_text("ne"))
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]
