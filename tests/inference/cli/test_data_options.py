"""How data are read is an option of a fit, kept in the run, and the same for other data."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import pytest
from typer.testing import Result

from vae4counts.inference import Run
from vae4counts.inference.report.reproduce import python_lines

QUICK = ("--epochs", 1, "--latents", 2, "--components", 2, "--device", "cpu")


def turned(counts: ad.AnnData, path: Path) -> tuple[Path, tuple[str, ...]]:
    counts.to_df().T.astype(int).to_csv(path / "a.csv")
    return path / "a.csv", ("--transpose",)


def fractional(counts: ad.AnnData, path: Path) -> tuple[Path, tuple[str, ...]]:
    counts.X.data += 0.25
    counts.write_h5ad(path / "a.h5ad")
    return path / "a.h5ad", ("--round",)


def fractional_raw(counts: ad.AnnData, path: Path) -> tuple[Path, tuple[str, ...]]:
    counts.X.data += 0.25
    counts.raw = counts.copy()
    counts.X = counts.X.log1p()
    counts.write_h5ad(path / "a.h5ad")
    return path / "a.h5ad", ("--round", "--layer", "raw")


def in_raw(counts: ad.AnnData, path: Path) -> tuple[Path, tuple[str, ...]]:
    counts.raw = counts.copy()
    counts.X = counts.X.log1p()
    counts.write_h5ad(path / "a.h5ad")
    return path / "a.h5ad", ("--layer", "raw")


def in_raw_on_disk(counts: ad.AnnData, path: Path) -> tuple[Path, tuple[str, ...]]:
    source, options = in_raw(counts, path)
    return source, (*options, "--out-of-core")


def with_antibodies(counts: ad.AnnData, path: Path) -> tuple[Path, tuple[str, ...]]:
    counts.var["feature_types"] = ["Gene Expression"] * 8 + ["Antibody Capture"] * 4
    counts.write_h5ad(path / "a.h5ad")
    return path / "a.h5ad", ("--feature-type", "Gene Expression")


WAYS = [turned, fractional, fractional_raw, in_raw, in_raw_on_disk, with_antibodies]


@pytest.mark.slow
@pytest.mark.usefixtures("without_figures")
@pytest.mark.parametrize("way", WAYS)
def test_a_run_reads_its_data_as_the_fit_did(
    way: Callable[..., tuple[Path, tuple[str, ...]]],
    run: Callable[..., Result],
    counts: ad.AnnData,
    tmp_path: Path,
) -> None:
    totals = counts.to_df().iloc[:, : 8 if way is with_antibodies else 12].to_numpy().sum()
    source, options = way(counts, tmp_path)
    out = tmp_path / "run"
    result = run("fit", source, "--out", out, *options, *QUICK)
    assert result.exit_code == 0, result.output
    lines = result.stderr.splitlines()
    assert any("have been rounded" in line for line in lines) == ("--round" in options)
    result = run("evaluate", out)
    assert result.exit_code == 0, result.output
    loaded = Run.load(out)
    settings = json.loads((out / "config.json").read_text())["settings"]
    assert settings["round"] == ("--round" in options)
    script = python_lines(loaded)
    for name, value in (("transpose", True), ("feature_type", "Gene Expression")):
        assert (f", {name}={value!r}" in script) == (settings[name] is not None)
    # the script that a run prints loads the same counts
    given: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of values that are rounded, as in the fit
        exec(script[: script.index("model =")], given)  # noqa: S102 (our own lines)
    on = loaded.on(given["adata"])
    assert on.is_fitted
    assert float(on.counts.library.sum()) == totals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--feature-type", "Peaks"), ("feature type", "Peaks")),
        (("--round", "--out-of-core"), ("on disk", "rounded")),
        (("--transpose", "--out-of-core"), ("cannot be transposed on disk",)),
    ],
)
def test_what_the_data_do_not_allow(
    options: tuple[str, ...],
    words: tuple[str, ...],
    run: Callable[..., Result],
    counts_file: Path,
    tmp_path: Path,
) -> None:
    result = run("fit", counts_file, "--out", tmp_path / "out", *options, *QUICK)
    assert result.exit_code == 2
    (line,) = result.stderr.strip().splitlines()
    assert all(word in line for word in words)
