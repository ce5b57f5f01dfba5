"""``vae4counts fit --resume`` continues what was stopped, and leaves nothing but the results."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from vae4counts.inference import TrainingError
from vae4counts.inference.fitting.step import Steps
from vae4counts.inference.run import storage

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_figures")]

QUICK = ("--epochs", 4, "--latents", 2, "--model", "vae", "--batch-size", 32)
Call = Callable[..., Result]


def stop(patch: pytest.MonkeyPatch, number: int) -> None:
    """Sends the process a signal in its fifth step."""
    step = Steps.take

    def stopping(self: Steps, batch: Any) -> Any:
        if self.taken == 4:
            signal.raise_signal(number)
        return step(self, batch)

    patch.setattr(Steps, "take", stopping)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_continues_and_leaves_what_a_whole_fit_leaves(
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
    assert "to continue, run the same command with --resume" in line
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
def test_there_may_be_nothing_to_continue_from(
    run: Call, counts_file: Path, tmp_path: Path
) -> None:
    # of a process that was killed
    (tmp_path / "out.partial" / "checkpoints").mkdir(parents=True)
    result = run("fit", counts_file, "--out", tmp_path / "out", *QUICK, "--resume")
    assert result.exit_code == 0, result.output
    assert "holds no checkpoint: the fit begins" in " ".join(result.stderr.split())
    assert not (tmp_path / "out.partial").exists()


class Killed(BaseException):
    """The end of a process that is killed."""


@pytest.mark.parametrize("moment", ["before they are there", "before the checkpoints go"])
def test_killed_while_results_take_their_place(
    moment: str, run: Call, counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, rename = tmp_path / "out", Path.replace

    def replace(path: Path, target: Path) -> Path:
        if target == out:
            raise Killed
        return rename(path, target)

    def die(_: Path) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        stop(patch, signal.SIGTERM)
        assert run("fit", counts_file, "--out", out, *QUICK).exit_code != 0
    with monkeypatch.context() as patch:
        if moment == "before they are there":
            patch.setattr(Path, "replace", replace)
        else:
            patch.setattr(storage, "discard_checkpoints", die)
        with pytest.raises(Killed):
            run("fit", counts_file, "--out", out, *QUICK, "--resume")
    assert (tmp_path / "out.partial").exists()
    again = run("fit", counts_file, "--out", out, *QUICK, "--resume")
    assert again.exit_code == 0, again.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [counts_file.name, "out"]
    assert (out / "annotated.h5ad").exists()
    assert "elbo" in json.loads((out / "metrics.json").read_text())


def test_an_error_leaves_nothing_where_there_is_no_checkpoint(
    run: Call, counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: Any) -> None:
        raise TrainingError("the objective is nan")

    monkeypatch.setattr(Steps, "take", diverge)
    assert run("fit", counts_file, "--out", tmp_path / "out", *QUICK).exit_code == 1
    assert list(tmp_path.iterdir()) == [counts_file]
