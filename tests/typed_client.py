"""A program of a user's that type checkers read: `make mypy`, and pyright in its strict mode."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from lightning_fabric.loggers.csv_logs import CSVLogger
from typing_extensions import assert_type

import vae4counts
from vae4counts.data import load_digits
from vae4counts.guides import Guide, guide_for
from vae4counts.inference import Evaluation, Run, Schedule, fit
from vae4counts.inference.interpretation import Interpretation
from vae4counts.models import VAE
from vae4counts.models.likelihoods import NegativeBinomial
from vae4counts.models.priors import GaussianMixture


def fitted(directory: Path) -> float:
    """Fit, question and keep a model."""
    adata = load_digits()
    model = VAE(adata.n_vars, GaussianMixture(2, 10), NegativeBinomial(), decoder="linear")
    guide = guide_for(model)
    assert_type(guide, Guide)
    logger = CSVLogger(directory)
    run = fit(model, guide, adata, epochs=2, schedule=Schedule(patience=1), logger=logger)
    assert_type(run, Run)
    found = run.evaluate(adata, num_samples=10)
    assert_type(found, Evaluation)
    assert_type(found.elbo, float)
    assert_type(run.loadings(), "pd.DataFrame | None")
    view = run.interpret(adata)
    assert_type(view, Interpretation)
    assert_type(view.component_contrasts(), pd.DataFrame)
    assert_type(run.check(adata).table, pd.DataFrame)
    run.save(directory)
    again = vae4counts.Run.load(directory)
    assert_type(again.history, pd.DataFrame)
    return again.evaluate(adata).elbo
