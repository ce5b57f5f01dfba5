"""Bad input ends in one clear line, status 2, and nothing left behind."""

from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from typer.testing import Result


def log_normalise(counts: ad.AnnData) -> None:
    counts.layers["raw"] = counts.X.copy()
    counts.X = counts.X.log1p()


def subtract(counts: ad.AnnData) -> None:
    counts.X = sp.csr_matrix(counts.X.toarray() - 3)


def spoil(counts: ad.AnnData) -> None:
    counts.X[4, 5] = np.nan


SPOILT: dict[str, tuple[Callable[[ad.AnnData], None], tuple[str, ...]]] = {
    "fractional": (log_normalise, ("log-normalised", "--layer", "raw")),
    "negative": (subtract, ("negative", "-3", "obs0", "f4")),
    "missing": (spoil, ("obs4", "f5")),
}


def assert_refused(result: Result, words: tuple[str, ...], directory: Path) -> None:
    assert result.exit_code == 2
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert "Traceback" not in result.output
    for word in words:
        assert word in lines[0]
    assert not (directory / "out").exists()
    assert not list(directory.glob(".out*"))


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("how", SPOILT)
def test_values_that_are_no_counts(
    how: str, run: Callable[..., Result], counts: ad.AnnData, tmp_path: Path
) -> None:
    change, words = SPOILT[how]
    change(counts)
    counts.write_h5ad(tmp_path / "bad.h5ad")
    result = run("fit", tmp_path / "bad.h5ad", "--out", tmp_path / "out", "--epochs", 1)
    assert_refused(result, words, tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--label", "grup"), ("grup", "group")),
        (("--layer", "spliced"), ("spliced",)),
        (("--likelihood", "gausian"), ("gausian", "negative-binomial")),
        (("--prior", "normal"), ("normal", "standard-normal")),
        (("--model", "gan"), ("gan", "gmvae")),
        (("--decoder", "cnn"), ("cnn", "linear")),
        (("--guide", "exact"), ("exact", "marginal")),
        (("--model", "vae", "--guide", "joint"), ("joint", "marginal")),
        (("--components", 80), ("80", "72")),
        (("--concentration", -1), ("concentration", "above 0")),
        (("--concentration", 0.1, "--prior", "vamp"), ("concentration", "gaussian-mixture")),
        (("--device", "tpu"), ("tpu", "cpu")),
        (("--top-features", 3, "--feature-method", "pca"), ("pca", "deviance", "seurat-v3")),
        (("--min-observations", 91), ("91 observations or more",)),
        (("--min-counts", 100_000), ("0 observations cannot be split",)),
        (("--stratify", "grup"), ("grup", "group")),
        (("--group", "donor"), ("donor", "group")),
        (("--group", "group", "--stratify", "group"), ("exclude each other",)),
        (("--split", "part"), ("part", "group")),
        (("--learning-rate", 0), ("learning_rate", "above 0")),
        (("--model", "vae", "--components", 3), ("standard-normal", "--components", "vamp")),
        (
            ("--model", "count-mixture", "--latents", 3),
            ("does not take --latents",),
        ),
        (("--model", "count-mixture", "--prior", "vamp"), ("count-mixture", "--prior")),
    ],
)
def test_options_that_make_no_sense(
    options: tuple[object, ...],
    words: tuple[str, ...],
    run: Callable[..., Result],
    counts_file: Path,
    tmp_path: Path,
) -> None:
    result = run("fit", counts_file, "--out", tmp_path / "out", "--epochs", 1, *options)
    assert_refused(result, words, tmp_path)


def test_a_file_that_is_not_there(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("fit", tmp_path / "none.h5ad", "--out", tmp_path / "out")
    assert_refused(result, ("none.h5ad",), tmp_path)


def test_a_broken_coco_file(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "instances.json").write_text('{"images": [')
    result = run("fit", tmp_path / "instances.json", "--out", tmp_path / "out")
    assert_refused(result, ("instances.json",), tmp_path)


def test_another_run_is_never_overwritten(
    run: Callable[..., Result], counts_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}")
    result = run("fit", counts_file, "--out", tmp_path / "out", "--epochs", 1)
    assert result.exit_code == 2
    assert "holds another run" in result.stderr
    assert (tmp_path / "out" / "config.json").read_text() == "{}"


def test_evaluate_wants_a_run(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("evaluate", tmp_path)
    assert result.exit_code == 2
    assert "config.json is missing" in result.stderr


def test_a_place_that_cannot_be_written_is_found_before_the_fit(
    run: Callable[..., Result], counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    below_a_file = run("fit", counts_file, "--out", counts_file / "out", "--epochs", 1)
    assert below_a_file.exit_code == 2
    assert "Traceback" not in below_a_file.output
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    here = run("fit", counts_file, "--out", ".", "--epochs", 1)
    assert here.exit_code == 2
    assert "is the current directory" in here.stderr


def test_evaluate_wants_the_data_of_the_fit(
    run: Callable[..., Result], counts: ad.AnnData, counts_file: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert run("fit", counts_file, "--out", out, "--epochs", 1, "--latents", 2).exit_code == 0
    counts[::-1].copy().write_h5ad(counts_file)
    result = run("evaluate", out)
    assert result.exit_code == 2
    assert "has changed" in result.stderr
    named = run("evaluate", out, "--data", counts_file, "--samples", 2)
    assert named.exit_code == 0
    assert "held-out" not in named.output


def test_evaluate_wants_counts(
    run: Callable[..., Result], counts: ad.AnnData, counts_file: Path, tmp_path: Path
) -> None:
    fitted = run("fit", counts_file, "--out", tmp_path / "out", "--epochs", 1, "--latents", 2)
    assert fitted.exit_code == 0
    empty = ad.AnnData(obs=counts.obs, var=counts.var)
    empty.write_h5ad(tmp_path / "empty.h5ad")
    result = run("evaluate", tmp_path / "out", "--data", tmp_path / "empty.h5ad")
    assert result.exit_code == 2
    assert "holds nothing" in result.stderr
