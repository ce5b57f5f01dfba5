"""What is told of a fit while it runs: lines where there is no bar, messages, and loggers."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from lightning_fabric.loggers import CSVLogger

from vae4counts.guides import guide_for
from vae4counts.inference import Checkpoints, Schedule, SettingsError, fit
from vae4counts.models import VAE
from vae4counts.models.priors import GaussianMixture, StandardNormal

LINE = re.compile(
    r"(?P<title>[\w ]+): (?P<done>\d) of 3 epochs \(\d+%\), ELBO -[\d.]+, "
    r"validation ELBO (?P<elbo>-[\d.]+), 0:00:\d\d(, 0:00:\d\d left)?"
)


@pytest.fixture
def counts() -> AnnData:
    return AnnData(np.random.default_rng(0).poisson(1.0, (60, 5)).astype(np.float32))


@pytest.fixture
def fitted(counts: AnnData) -> Callable[..., Any]:
    """Fit a small model for three epochs."""

    def call(prior: Any = None, **settings: Any) -> Any:
        model = VAE(5, prior=prior or StandardNormal(2), decoder="linear")
        options = {"epochs": 3, "batch_size": 32, "device": "cpu", **settings}
        return fit(model, guide_for(model), counts, **options)

    return call


def test_lines_on_standard_error(
    fitted: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    run = fitted(GaussianMixture(2, 2), epochs=6)  # three of them without its components
    said = capsys.readouterr()
    assert said.out == ""
    lines = [LINE.fullmatch(line) for line in said.err.splitlines()]
    # of each training, which takes a moment, the first epoch and the last
    assert [(line["title"], line["done"]) for line in lines if line] == [
        ("plain VAE", "1"),
        ("plain VAE", "3"),
        ("training", "1"),
        ("training", "3"),
    ]
    elbos = run.history.validation_elbo.iloc[[0, 2, 3, 5]]
    assert [float(line["elbo"]) for line in lines if line] == [round(each, 2) for each in elbos]


class Kept:
    """A logger that keeps all that it is told."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.saved = 0
        self.status: list[str] = []

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self.rows.append({"step": step, **metrics})

    def save(self) -> None:
        self.saved += 1

    def finalize(self, status: str) -> None:
        self.status.append(status)


def test_a_logger_has_the_history(fitted: Callable[..., Any]) -> None:
    logger = Kept()
    history = fitted(progress=False, logger=logger).history
    logged = pd.DataFrame(logger.rows)
    # 48 observations are two steps an epoch
    assert logged.pop("step").tolist() == [2, 4, 6]
    pd.testing.assert_frame_equal(logged, history.drop(columns=["phase", "step"]))
    assert (logger.saved, logger.status) == (3, ["success"])


def test_restarts_are_logged_one_after_the_other(fitted: Callable[..., Any]) -> None:
    logger = Kept()
    fitted(schedule=Schedule(restarts=2), progress=False, logger=logger)
    # two short fits of an epoch each, and the two epochs that follow the better one
    assert [row["step"] for row in logger.rows] == [2, 4, 6, 8]


def test_lightning_loggers_of_tables(fitted: Callable[..., Any], tmp_path: Path) -> None:
    logger = CSVLogger(tmp_path, name="mine")
    history = fitted(progress=False, logger=logger).history
    table = pd.read_csv(tmp_path / "mine" / "version_0" / "metrics.csv")
    assert table.step.tolist() == [2, 4, 6]
    np.testing.assert_allclose(table.validation_elbo, history.validation_elbo)


def test_a_resumed_fit_tells_all_again(
    fitted: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, again = Kept(), Kept()
    fitted(logger=whole, checkpoints=Checkpoints(tmp_path, every=1))
    capsys.readouterr()
    fitted(
        logger=again,
        checkpoints=Checkpoints(tmp_path, every=1, resume=True),
    )
    assert again.rows == whole.rows


class Broken(Kept):
    """A logger whose disk is full."""

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        raise OSError("No space left on device")


def test_a_logger_that_fails_costs_no_fit(fitted: Callable[..., Any]) -> None:
    with pytest.warns(UserWarning, match="continues without it: No space left") as said:
        run = fitted(progress=False, logger=Broken())
    assert len(said) == 1
    assert len(run.history) == 3


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"logger": "csv"}, "logger is 'csv': it must be one of Lightning Fabric's"),
        ({"progress": "loud"}, "progress is 'loud': it must be True or False"),
    ],
)
def test_bad_values(fitted: Callable[..., Any], settings: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(words)):
        fitted(**settings)


def test_messages_and_nothing_else(
    fitted: Callable[..., Any],
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level(logging.DEBUG, logger="vae4counts"):
        fitted(progress=False)
    assert capsys.readouterr().err == ""
    info = [r.getMessage() for r in caplog.records if r.levelno == logging.INFO]
    assert any(re.match(r"training ended after 3 epochs: ELBO -[\d.]+, valid", m) for m in info)
    details = [r.getMessage() for r in caplog.records if r.levelno == logging.DEBUG]
    assert sum("epoch 2" in message for message in details) == 1
