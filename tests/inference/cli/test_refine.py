"""Refined posteriors on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anndata
import pytest
from typer.testing import Result

pytestmark = pytest.mark.slow
QUICK = ("--epochs", 2, "--latents", 2, "--components", 2)


def test_fit_evaluate_and_annotate(
    run: Callable[..., Result], counts_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = run("fit", counts_file, "--out", out, *QUICK)
    assert done.exit_code == 0, done.output
    assert "ELBO of refined posteriors" in done.output
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["refined_elbo"] > metrics["elbo"]
    assert 0 <= metrics["refined_pareto_k_high"] <= 1
    assert 0 < metrics["refined_effective_draws"] <= 1
    done = run("evaluate", out, "--refine", "--samples", 100)
    assert done.exit_code == 0, done.output
    assert "ELBO of refined posteriors" in done.output
    done = run("annotate", out, "--refine", "--out", tmp_path / "refined.h5ad")
    assert done.exit_code == 0, done.output
    assert "pareto_k" in anndata.read_h5ad(tmp_path / "refined.h5ad").obs
    assert "pareto_k" not in anndata.read_h5ad(out / "annotated.h5ad").obs
