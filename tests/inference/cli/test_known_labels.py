"""``fit --known-labels``: classes that are known of some observations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from typer.testing import Result

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("without_figures")]

QUICK = ("--epochs", 4, "--latents", 2)


@pytest.fixture
def partly(counts: ad.AnnData, tmp_path: Path) -> Path:
    """Every third observation has a label, or "unsure"."""
    kind = counts.obs["group"].astype(str).to_numpy(dtype=object)
    kind[np.arange(90) % 7 == 0] = "unsure"
    counts.obs["kind"] = np.where(np.arange(90) % 5 < 2, kind, None)
    counts.write_h5ad(tmp_path / "partly.h5ad")
    return tmp_path / "partly.h5ad"


def test_labels_are_predicted(run: Callable[..., Result], partly: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ("--known-labels", "kind", "--ignore-label", "unsure", "--label", "group")
    result = run("fit", partly, "--out", out, *QUICK, *words)
    assert result.exit_code == 0, result.output
    assert "accuracy of predicted labels" in result.output
    config = json.loads((out / "config.json").read_text())
    assert config["model"]["labels"]["classes"] == ["g0", "g1", "g2"]
    assert config["model"]["prior"]["n_components"] == 3
    annotated = ad.read_h5ad(out / "annotated.h5ad")
    assert set(annotated.obs["predicted_label"]) <= {"g0", "g1", "g2"}
    accuracy = json.loads((out / "metrics.json").read_text())["accuracy"]
    again = run("evaluate", out)
    assert again.exit_code == 0, again.output
    assert 0 <= accuracy <= 1
    assert f"{accuracy:.3f}" in again.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--known-labels", "kinds"), "kinds"),
        (("--known-labels", "kind", "--components", 2), "n_components is 2"),
        (("--known-labels", "kind", "--model", "count-mixture"), "does not take --known-labels"),
        (("--known-labels", "kind", "--prior", "standard-normal"), "standard-normal does not take"),
        (("--known-labels", "kind", "--guide", "joint"), "'joint' does not fit"),
        (("--known-labels", "component"), "no column"),
    ],
)
def test_options_that_do_not_go_together(
    run: Callable[..., Result], partly: Path, tmp_path: Path, words: tuple[str], message: str
) -> None:
    result = run("fit", partly, "--out", tmp_path / "out", *QUICK, *words)
    assert result.exit_code != 0
    assert message in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()


def test_unknown_classes_have_components(
    run: Callable[..., Result], partly: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    words = ("--known-labels", "kind", "--ignore-label", "unsure", "--components", 5)
    result = run("fit", partly, "--out", out, "--model", "vae", *QUICK, *words)
    assert result.exit_code == 0, result.output
    annotated = ad.read_h5ad(out / "annotated.h5ad")
    names = {"g0", "g1", "g2", "unknown 1", "unknown 2"}
    assert set(annotated.obs["predicted_label"]) <= names
    assert annotated.obsm["responsibilities"].shape == (90, 5)
