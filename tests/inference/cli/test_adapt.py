"""``vae4counts adapt``: a run of its own, beside that which it came from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import pytest
from typer.testing import Result

from vae4counts.inference import Run

pytestmark = pytest.mark.slow


def test_a_run_is_adapted_to_a_new_batch(
    make_counts: Callable[..., ad.AnnData],
    run: Callable[..., Result],
    without_figures: None,
    tmp_path: Path,
) -> None:
    old, new = make_counts(), make_counts(seed=1)
    old.obs["batch"], new.obs["batch"] = ["1", "2"] * 45, "3"
    old.write_h5ad(tmp_path / "old.h5ad")
    new.write_h5ad(tmp_path / "new.h5ad")
    first, out = tmp_path / "run", tmp_path / "adapted"
    fitting = ("--epochs", 2, "--latents", 2, "--components", 3, "--categorical", "batch")
    fitted = run("fit", tmp_path / "old.h5ad", "--out", first, *fitting, "--label", "group")
    assert fitted.exit_code == 0, fitted.output
    before = (first / "model.safetensors").read_bytes()
    result = run("adapt", first, tmp_path / "new.h5ad", "--out", out, "--epochs", 2)
    assert result.exit_code == 0, result.output
    assert f"Results are in {out}" in result.output.replace("\n", "")
    assert (first / "model.safetensors").read_bytes() == before
    adapted = Run.load(out)
    assert adapted.covariate_columns["batch"] == ["1", "2", "3"]
    assert adapted.settings["adapted_from"]["new_levels"] == {"batch": ["3"]}
    assert {"elbo", "ari"} <= adapted.metrics.keys()
    assert "X_vae" in ad.read_h5ad(out / "annotated.h5ad").obsm
    assert run("evaluate", out).exit_code == 0  # it knows its data
    again = run("adapt", first, tmp_path / "new.h5ad", "--out", out)
    assert again.exit_code == 2
    assert "holds another run" in again.output
    known = run("adapt", first, tmp_path / "old.h5ad", "--out", tmp_path / "other")
    assert known.exit_code == 2
    assert "knows all levels of 'batch'" in known.output
