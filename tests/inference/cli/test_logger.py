"""The history of a fit on the command line: lines while it grows, and a logger's files."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result


def test_a_logger_has_the_history(
    run: Callable[..., Result], counts_file: Path, tmp_path: Path, without_figures: None
) -> None:
    out, logs = tmp_path / "out", tmp_path / "logs"
    words = ["fit", counts_file, "--out", out, "--model", "vae", "--epochs", 2]
    done = run(*words, "--logger", "csv", "--log-folder", logs)
    assert done.exit_code == 0, done.stderr
    logged = pd.read_csv(logs / "out" / "version_0" / "metrics.csv")
    history = pd.read_csv(out / "history.csv")
    assert logged.validation_elbo.tolist() == pytest.approx(history.validation_elbo.tolist())
    lines = [line for line in done.stderr.splitlines() if line.startswith("training: ")]
    assert [line.split(" epochs")[0] for line in lines] == ["training: 1 of 2", "training: 2 of 2"]
    assert "training: " not in done.stdout


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is not None
    or importlib.util.find_spec("tensorboardX") is not None,
    reason="it is installed",
)
def test_a_logger_that_is_not_installed(
    run: Callable[..., Result], counts_file: Path, tmp_path: Path
) -> None:
    done = run("fit", counts_file, "--out", tmp_path / "out", "--logger", "tensorboard")
    assert done.exit_code == 2
    assert done.stderr.splitlines()[-1].endswith("pip install tensorboard")
    assert not (tmp_path / "out").exists()
