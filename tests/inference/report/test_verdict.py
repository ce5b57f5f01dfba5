"""The verdict says what the metrics say."""

from __future__ import annotations

import copy

import pytest
from anndata import AnnData

from vae4counts.inference import Run
from vae4counts.inference.report.subject import Subject
from vae4counts.inference.report.verdict import verdict

pytestmark = pytest.mark.slow

MEASURED = {
    "elbo": -12.0,
    "iw_log_likelihood": -11.5,
    "iw_log_likelihood_se": 0.5,
    "components_used": 2,
    "nats_over_one_gaussian": 1.0,
    "nats_standard_error": 0.1,
    "ari": 0.95,
    "nmi": 0.9,
    "pareto_k_high": 0.02,
    "epoch_kept": 1,
}


def said(run: Run, adata: AnnData, **metrics: object) -> str:
    run = copy.copy(run)
    run.metrics = MEASURED | metrics
    return str(verdict(Subject(run.on(adata))).body[0])


def test_it_says_what_was_measured(run: Run, adata: AnnData) -> None:
    words = said(run, adata)
    assert "-11.5 ± 0.5 nats each" in words
    assert "better than one Gaussian (+1.0 ± 0.1 nats each)" in words
    assert "agree almost completely with the known classes" in words
    assert "posteriors can be trusted" in words


def test_it_says_what_is_bad(run: Run, adata: AnnData) -> None:
    bad = {"ari": 0.01, "nats_over_one_gaussian": 0.1, "pareto_k_high": 0.8}
    words = said(run, adata, **bad, refined_pareto_k_high=0.0, component_warning="one is empty")
    assert "no better than one Gaussian" in words
    assert "agree hardly with" in words
    assert "too rough for 80% of the observations" in words
    assert "refined, 0% remain" in words
    assert "At the end of the fit, one is empty." in words
