"""``vae4counts fit --resume``: what was stopped goes on, and nothing but the results is left."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from vae4counts.inference import TrainingError
from vae4counts.inference.fitting.loop import Training

QUICK = ("--epochs", 4, "--latents", 2, "--components", 3, "--model", "vae", "--batch-size", 32)
Call = Callable[..., Result]


def stop(patch: pytest.MonkeyPatch, number: int) -> None:
    """Sends the process a signal in its fifth step."""
    step = Training.step

    def stopping(self: Training, batch: Any) -> None:
        if self.steps == 4:
            signal.raise_signal(number)
        step(self, batch)

    patch.setattr(Training, "step", stopping)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_goes_on_and_leaves_what_a_whole_fit_leaves(
    number: int, run: Call, counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, whole = tmp_path / "runs" / "out", tmp_path / "whole"
    assert run("fit", counts_file, "--out", whole, *QUICK).exit_code == 0
    with monkeypatch.context() as patch:
        stop(patch, number)
        result = run("fit", counts_file, "--out", out, *QUICK)
    assert result.exit_code == 128 + number
    line = " ".join(result.stderr.split())
    assert "stopped after step 5: the state is saved in" in line
    assert "go on with the same command and --resume" in line
    assert [path.name for path in out.parent.iterdir()] == ["out.partial"]

    result = run("fit", counts_file, "--out", out, *QUICK)
    assert result.exit_code == 2
    assert "out.partial holds an unfinished fit" in " ".join(result.stderr.split())

    result = run("fit", counts_file, "--out", out, *QUICK, "--resume")
    assert result.exit_code == 0, result.output
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert {path.name for path in out.iterdir()} == {path.name for path in whole.iterdir()}
    weights = [(path / "model.safetensors").read_bytes() for path in (out, whole)]
    assert weights[0] == weights[1]
    metrics = [json.loads((path / "metrics.json").read_text()) for path in (out, whole)]
    for values in metrics:
        del values["seconds"], values["observations_per_second"]
    assert metrics[0] == metrics[1]
    command = json.loads((out / "config.json").read_text())["settings"]["command"]
    assert "--resume" not in command


@pytest.mark.filterwarnings("always:.*holds no checkpoint:UserWarning")
def test_there_may_be_nothing_to_go_on_from(run: Call, counts_file: Path, tmp_path: Path) -> None:
    (tmp_path / "out.partial" / "results").mkdir(parents=True)  # of a process that was killed
    (tmp_path / "out.partial" / "results" / "config.json").write_text("{")
    result = run("fit", counts_file, "--out", tmp_path / "out", *QUICK, "--resume")
    assert result.exit_code == 0, result.output
    assert "holds no checkpoint: the fit begins" in " ".join(result.stderr.split())
    assert not (tmp_path / "out.partial").exists()


class Killed(BaseException):
    """What a process that is killed does after it: nothing."""


@pytest.mark.parametrize("moves", [0, 1, 2])
def test_killed_while_results_take_their_place(
    moves: int, run: Call, counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    done: list[str] = []
    rename, remove = Path.replace, shutil.rmtree

    def replace(path: Path, target: Path) -> Path:
        if path.name in {"out.partial", "results"}:
            if len(done) == moves:
                done.append("killed")
                raise Killed
            done.append(path.name)
        return rename(path, target)

    def clear_away(*arguments: Any, **more: Any) -> None:
        if done[moves:] or len(done) == moves == 2:
            raise Killed
        remove(*arguments, **more)

    with monkeypatch.context() as patch:
        stop(patch, signal.SIGTERM)
        assert run("fit", counts_file, "--out", out, *QUICK).exit_code != 0
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        patch.setattr(shutil, "rmtree", clear_away)
        patch.setattr(Path, "rmdir", clear_away)
        with pytest.raises(Killed):
            run("fit", counts_file, "--out", out, *QUICK, "--resume")
    again = run("fit", counts_file, "--out", out, *QUICK, "--resume")
    assert again.exit_code == (2 if moves == 2 else 0), again.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [counts_file.name, "out"]
    assert (out / "metrics.json").exists()


def test_an_error_leaves_nothing_where_there_is_no_checkpoint(
    run: Call, counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: Any) -> None:
        raise TrainingError("the objective is nan")

    monkeypatch.setattr(Training, "step", diverge)
    assert run("fit", counts_file, "--out", tmp_path / "out", *QUICK).exit_code == 1
    assert list(tmp_path.iterdir()) == [counts_file]
