from collections.abc import Callable
from html import unescape
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
from typer.testing import Result

from vae4counts.inference import Run

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:for over 10 % of the observations"),
]

Call = Callable[..., Result]


@pytest.fixture
def fitted(run: Call, counts_file: Path, tmp_path: Path) -> Path:
    options = ("--epochs", 3, "--latents", 2, "--components", 3, "--label", "group", "--seed", 5)
    result = run("fit", counts_file, "--out", tmp_path / "a run", *options, "--top-features", 10)
    assert result.exit_code == 0, result.output
    return tmp_path / "a run"


def codes(page: str) -> list[str]:
    return [unescape(part.partition("</code>")[0]) for part in page.split("<code>")[1:]]


def test_a_run_tells_how_it_is_made_again(run: Call, fitted: Path, counts_file: Path) -> None:
    result = run("report", fitted)
    assert result.exit_code == 0, result.output
    assert "report.html" in result.output
    page = (fitted / "report.html").read_text(encoding="utf-8")
    assert "<h1>GMVAE on counts.h5ad</h1>" in page
    command, python = codes(page)
    assert command == (
        f"vae4counts fit {counts_file} --out '{fitted}' "
        "--label group --top-features 10 --latents 2 --components 3 --epochs 3 --seed 5"
    )
    made: dict[str, Run] = {}
    exec(python, made)  # type: ignore[arg-type]  # noqa: S102
    first, again = Run.load(fitted), made["run"]
    np.testing.assert_allclose(
        again.history["validation_elbo"], first.history["validation_elbo"], rtol=1e-6
    )
    assert again.fingerprint == first.fingerprint


def test_data_and_place_can_be_named(
    run: Call, fitted: Path, counts: ad.AnnData, tmp_path: Path
) -> None:
    counts.obs_names = [f"new{i}" for i in range(counts.n_obs)]
    counts.write_h5ad(tmp_path / "new.h5ad")
    out = tmp_path / "page.html"
    result = run("report", fitted, "--data", tmp_path / "new.h5ad", "--out", out)
    assert result.exit_code == 0, result.output
    assert "new12" in out.read_text(encoding="utf-8")
    assert not (fitted / "report.html").exists()


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2
    (line,) = [line for line in result.stderr.splitlines() if "error" in line]
    for word in words:
        assert word in line
    assert "Traceback" not in result.output


def test_what_cannot_be_reported(
    run: Call, fitted: Path, counts: ad.AnnData, counts_file: Path, tmp_path: Path
) -> None:
    refused(run("report", tmp_path), "config.json is missing")
    refused(run("report", fitted, "--out", tmp_path / "no" / "page.html"), "make it first")
    refused(run("report", fitted, "--label", "kind"), "kind", "group")
    counts[::-1].copy().write_h5ad(counts_file)
    refused(run("report", fitted), "has changed", "--data")
    assert not (fitted / "report.html").exists()
