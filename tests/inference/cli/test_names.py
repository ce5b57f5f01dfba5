"""Files, directories and columns of any name, through the commands that show them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import pytest
from typer.testing import Result

pytestmark = pytest.mark.slow

QUICK = ("--epochs", 1, "--latents", 2, "--components", 2)


@pytest.mark.parametrize("name", ["-rf [bold]a b'c\"d :smile: $x^{$ Zählung 细胞", "_" + "x" * 150])
def test_any_name_is_shown_whole(
    name: str,
    run: Callable[..., Result],
    counts: ad.AnnData,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    counts.obs[name] = counts.obs["group"].astype(str) + name
    counts.var_names = [f"{name}{j}" for j in range(12)]
    counts.write_h5ad(tmp_path / f"{name}.h5ad")
    out = tmp_path / name
    fitted = run("fit", tmp_path / f"{name}.h5ad", "--out", out, "--label", name, *QUICK)
    assert fitted.exit_code == 0, fitted.output
    assert "could not be made" not in fitted.stderr
    title = f"GMVAE on {tmp_path / name}.h5ad"  # wrapped to the width of the table
    assert "".join(title.split()) in "".join(fitted.stdout.split())
    assert fitted.stdout.splitlines()[-1] == f"Results are in {out}"
    report = run("report", out)
    assert report.stdout == f"The report is {out / 'report.html'}\n"
    assert "warning" not in report.stderr
    compared = run("compare", out, f"{out}/", "--samples", 100)
    assert compared.exit_code in (0, 2)
    missing = run("evaluate", tmp_path / f"{name}{name}")
    assert missing.exit_code == 2
    assert len(missing.stderr.splitlines()) == 1
    assert f"{name}{name}" in missing.stderr
