from collections.abc import Callable
from pathlib import Path

import anndata as ad
import pytest
from typer.testing import Result

from vae4counts.inference.cli.application import screen

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("without_figures"),
    pytest.mark.filterwarnings("ignore:for over 10 % of the observations"),
]

Call = Callable[..., Result]
QUICK = ("--epochs", 3, "--latents", 2, "--model", "vae")


@pytest.fixture
def two(run: Call, counts_file: Path, tmp_path: Path) -> list[Path]:
    """Runs of the same data, a Poisson and a negative binomial."""
    made = []
    for likelihood in ("poisson", "negative-binomial"):
        made.append(tmp_path / likelihood)
        options = ("--out", made[-1], "--likelihood", likelihood, *QUICK)
        assert run("fit", counts_file, *options).exit_code == 0
    return made


def test_runs_are_ranked(two: list[Path], run: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screen, "_width", 300)  # rich has read COLUMNS when it was imported
    result = run("compare", *two, "--samples", 100)
    assert result.exit_code == 0, result.output
    rows = [line.split("│") for line in result.stdout.splitlines() if line.startswith("│")]
    assert [row[1].strip() for row in rows] == ["1", "2"]
    assert {row[2].strip() for row in rows} == {str(path) for path in two}
    first, second = (float(row[3].split("±")[0]) for row in rows)
    assert first >= second
    assert float(rows[1][4].split("±")[0]) == pytest.approx(second - first, abs=0.011)
    assert rows[0][4].strip() == ""


@pytest.mark.filterwarnings("ignore:the mixture")
def test_components_are_matched(
    two: list[Path], run: Call, counts_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the mixtures among the runs; each is compared with the first of them."""
    monkeypatch.setattr(screen, "_width", 300)
    mixtures = [tmp_path / name for name in ("two", "three")]
    for path, number in zip(mixtures, (2, 3), strict=True):
        options = ("--epochs", 3, "--latents", 2, "--components", number, "--out", path)
        assert run("fit", counts_file, *options).exit_code == 0
    result = run("compare", two[0], *mixtures, "--samples", 100)
    assert result.exit_code == 0, result.output
    title, table = result.stdout.split("Components of ")[1].split("\n", 1)
    assert title.strip() == str(mixtures[0])
    assert str(mixtures[1]) in table
    assert str(two[0]) not in table
    rows = [line.split("│") for line in table.splitlines() if line.startswith("│")]
    assert [row[1].strip() for row in rows] == ["0", "1"]
    matches = [row[3].split() for row in rows]
    assert len({component for component, _ in matches}) == 2
    assert all(0 <= float(agreement.strip("()")) <= 1 for _, agreement in matches)
    assert "Components of" not in run("compare", *two, "--samples", 100).stdout


def test_other_data_can_be_named(
    two: list[Path], run: Call, counts: ad.AnnData, tmp_path: Path
) -> None:
    counts.obs_names = [f"new{i}" for i in range(counts.n_obs)]
    counts.write_h5ad(tmp_path / "new.h5ad")
    result = run("compare", *two, "--data", tmp_path / "new.h5ad", "--samples", 100)
    assert result.exit_code == 0, result.output
    assert "new.h5ad" in result.stdout.replace("\n", "")


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2
    lines = [line for line in result.stderr.splitlines() if "error" in line]
    assert len(lines) == 1
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in result.output


def test_what_cannot_be_compared(
    two: list[Path], run: Call, counts: ad.AnnData, counts_file: Path, tmp_path: Path
) -> None:
    refused(run("compare", two[0]), "two runs or more")
    refused(run("compare", two[0], two[0]), "two runs or more")
    refused(run("compare", two[0], tmp_path), "config.json is missing")
    seed = run("fit", counts_file, "--out", tmp_path / "seed", "--seed", 1, *QUICK)
    assert seed.exit_code == 0
    refused(
        run("compare", two[0], tmp_path / "seed"), "not held out the same", "same split and seed"
    )
    classes = run(
        "fit", counts_file, "--out", tmp_path / "c", "--likelihood", "categorical", *QUICK
    )
    assert classes.exit_code == 0
    refused(run("compare", two[0], tmp_path / "c"), "takes all counts from 3 on as one")
    counts[::-1].copy().write_h5ad(counts_file)
    refused(run("compare", *two), "as it is now", "--data")
