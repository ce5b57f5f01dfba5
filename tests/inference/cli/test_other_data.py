"""A run's own layer and label are changed or dropped for other data, by every command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import pytest
from typer.testing import CliRunner, Result

from vae4counts.inference.cli import app

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:for over 10 % of the observations"),
]

Call = Callable[..., Result]
OPTIONS = ("--model", "vae", "--epochs", 1, "--latents", 2, "--layer", "raw", "--label", "group")


@pytest.fixture(scope="module")
def fitted(
    make_counts: Callable[..., ad.AnnData], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A directory with two runs that were fitted to a layer, and plain data without it."""
    place = tmp_path_factory.mktemp("runs")
    counts = make_counts()
    counts.layers["raw"] = counts.X.copy()
    counts.X = counts.X.log1p()
    counts.write_h5ad(place / "fitted.h5ad")
    plain = make_counts(seed=1)
    plain.obs_names = [f"new{i}" for i in range(plain.n_obs)]
    ad.AnnData(plain.X, plain.obs[[]], plain.var).write_h5ad(place / "plain.h5ad")
    plain.layers["others"] = plain.X.copy()
    plain.X = plain.X.log1p()
    plain.obs["kind"] = plain.obs.pop("group")
    plain.write_h5ad(place / "others.h5ad")
    for name in ("one", "two"):
        words = ["fit", place / "fitted.h5ad", "--out", place / name, *OPTIONS]
        result = CliRunner().invoke(app, [*map(str, words), "--seed", "1"])
        assert result.exit_code == 0, result.output
    return place


def test_evaluate_without_them(run: Call, fitted: Path) -> None:
    plain = ("evaluate", fitted / "one", "--data", fitted / "plain.h5ad", "--samples", 2)
    refused = run(*plain)
    assert refused.exit_code == 2
    assert "no layer 'raw'" in refused.stderr
    assert "--no-layer" in refused.stderr
    refused = run(*plain, "--no-layer")
    assert refused.exit_code == 2
    assert "no label column 'group'" in refused.stderr
    assert "--no-label" in refused.stderr
    result = run(*plain, "--no-layer", "--no-label")
    assert result.exit_code == 0, result.output
    others = ("evaluate", fitted / "one", "--data", fitted / "others.h5ad", "--samples", 2)
    result = run(*others, "--layer", "others", "--label", "kind")
    assert result.exit_code == 0, result.output


def test_the_other_commands_without_them(run: Call, fitted: Path, tmp_path: Path) -> None:
    data = ("--data", fitted / "plain.h5ad", "--no-layer")
    page, file = tmp_path / "page.html", tmp_path / "annotated.h5ad"
    for words in (
        ("report", fitted / "one", *data, "--no-label", "--out", page),
        ("annotate", fitted / "one", *data, "--out", file),
        ("compare", fitted / "one", fitted / "two", *data, "--samples", 100),
        ("figures", fitted / "one", "--no-label"),
    ):
        result = run(*words)
        assert result.exit_code == 0, result.output
    assert "X_vae" in ad.read_h5ad(file).obsm
    assert "group" not in page.read_text(encoding="utf-8").partition("Data</h2>")[2][:500]


@pytest.mark.parametrize("command", ["evaluate", "report", "figures"])
@pytest.mark.parametrize("what", ["layer", "label"])
def test_one_of_both(what: str, command: str, run: Call, fitted: Path) -> None:
    result = run(command, fitted / "one", f"--{what}", "group", f"--no-{what}")
    assert result.exit_code == 2
    assert f"--{what} group and --no-{what} exclude each other" in result.stderr


def place_at(kind: str, fitted: Path, directory: Path) -> Path:
    """A place where no file can be written."""
    if kind == "no directory":
        return directory / "none" / "file"
    if kind == "a file for a directory":
        return fitted / "plain.h5ad" / "file"
    return directory


@pytest.mark.parametrize("kind", ["no directory", "a file for a directory", "a directory"])
@pytest.mark.parametrize("command", ["annotate", "report"])
def test_a_place_is_checked_before_any_work(
    command: str,
    kind: str,
    run: Call,
    fitted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(f"vae4counts.inference.cli.{command}.source_of", None)
    out = place_at(kind, fitted, tmp_path)
    result = run(command, fitted / "one", "--data", fitted / "plain.h5ad", "--out", out)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "directory" in result.stderr or "exists already" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_nobody_reads_what_it_says(fitted: Path, tmp_path: Path) -> None:
    """As with ``| head``: each part warns, and nobody is there to read it."""
    out = tmp_path / "out"
    script = (
        "import sys\n"
        "from vae4counts.inference.cli import main\n"
        "from vae4counts.inference.report import figures\n"
        "figures.FIGURES['latent'] = None\n"
        "sys.stdin.read()\n"
        "main()\n"
    )
    words = ["fit", fitted / "fitted.h5ad", "--out", out, *OPTIONS]
    process = subprocess.Popen(  # noqa: S603 (our own code)
        [sys.executable, "-c", script, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    for pipe in (process.stdout, process.stderr, process.stdin):
        assert pipe is not None
        pipe.close()
    assert process.wait() == 0
    left = {path.name for path in out.iterdir()}
    assert {"model.safetensors", "annotated.h5ad", "history.png"} <= left
    assert "latent.png" not in left


@pytest.mark.parametrize("command", ["evaluate", "annotate", "report", "figures", "compare"])
def test_data_that_were_moved(run: Call, fitted: Path, command: str) -> None:
    """One line says to name them; `evaluate` recognises them where they are."""
    runs = (fitted / "one", fitted / "two") if command == "compare" else (fitted / "one",)
    (fitted / "fitted.h5ad").rename(fitted / "moved.h5ad")
    try:
        refused = run(command, *runs)
        moved = run("evaluate", fitted / "one", "--data", fitted / "moved.h5ad", "--samples", 2)
    finally:
        (fitted / "moved.h5ad").rename(fitted / "fitted.h5ad")
    assert refused.exit_code == 2
    assert (
        "is no longer there: put it back, or name it where it is now with --data" in refused.stderr
    )
    assert moved.exit_code == 0, moved.output
