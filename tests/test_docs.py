"""Every block of README, CONTRIBUTING and docs runs as it stands, page by page.

Python runs with fits of two epochs on few cells. Lines of a shell are not run: their commands and
options have to be ones that the command line takes, their files and targets to be there.
"""

from __future__ import annotations

import logging
import re
import shlex
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import dropwhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scanpy
import torch
import typer
from anndata import AnnData

import vae4counts
from vae4counts import data, inference
from vae4counts.data import load, load_pbmc68k_reduced
from vae4counts.data.readers.registry import READERS
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference.cli import app
from vae4counts.models import GMVAE
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.priors import PRIORS, GaussianMixture

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "examples" / "README.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "howto").glob("*.md")),
]
MAX_README_LINES = 160
# Links to the repository, as the README has them.
OURS = re.compile(
    r"https://(?:github\.com|raw\.githubusercontent\.com)/vae4counts/vae4counts(?:/blob)?/main/"
)


def blocks(page: Path, language: str) -> list[str]:
    """The blocks of a page, each moved down to the line where it stands."""
    text = page.read_text(encoding="utf-8")
    fence = re.compile(rf"^ *```{language}\n(.*?)^ *```", flags=re.DOTALL | re.MULTILINE)
    return [
        "\n" * text.count("\n", 0, found.start(1)) + textwrap.dedent(found[1])
        for found in fence.finditer(text)
    ]


def run_blocks(page: Path, names: dict[str, Any]) -> None:
    for block in blocks(page, "python"):
        exec(compile(block, page, "exec"), names)  # noqa: S102


def named(pages: list[Path]) -> dict[str, Path]:
    return {str(page.relative_to(ROOT)): page for page in pages}


WITH_PYTHON = named([page for page in PAGES if blocks(page, "python")])
WITH_SHELL = named([page for page in PAGES if blocks(page, "sh")])


def small_pair() -> tuple[GMVAE, Any]:
    torch.manual_seed(0)
    model = GMVAE(60, GaussianMixture(2, 2), decoder="linear")
    return model, guide_for(model, encoder=Encoder((8,)))


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """60 genes of every other of the 700 cells, CD79 among them, and a column that splits them."""
    adata = load_pbmc68k_reduced()[::2].copy()
    totals = np.asarray(adata.X.sum(0)).ravel()
    kept = set(adata.var_names[np.argsort(-totals)[:57]]) | {"CD79A", "CD79B", "CD3D"}
    adata = adata[:, [name for name in adata.var_names if name in kept]][:, :60].copy()
    parts = np.array(["train", "train", "train", "validation", "test"])
    adata.obs["part"] = parts[np.arange(adata.n_obs) % 5]
    random = np.random.default_rng(0)
    adata.obs["batch"] = random.choice(["A", "B", "C"], adata.n_obs)
    proteins = random.poisson(5.0, (adata.n_obs, 3))
    adata.obsm["protein"] = pd.DataFrame(proteins, adata.obs_names, ["CD3", "CD4", "CD8"])
    adata.layers["counts"] = adata.X.copy()
    adata.obs["treatment"] = random.choice(["drug", "none"], adata.n_obs)
    return adata


FIT: Callable[..., Any] = inference.fit


def quick_fit(*pair_and_data: Any, **settings: Any) -> Any:
    return FIT(*pair_and_data, **(settings | {"epochs": 2, "progress": False}))


@pytest.fixture(scope="module")
def runs(cells: AnnData) -> list[Any]:
    """Two quick fits."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit of two epochs is no good one, which is said
        return [quick_fit(*small_pair(), cells, label="celltype") for _ in range(2)]


class FirstTwo:
    """Stands for UMAP, and lays observations out by their first two latents."""

    def __init__(self, **_: Any) -> None: ...

    def fit_transform(self, latents: np.ndarray) -> np.ndarray:
        return latents[:, :2]


@pytest.fixture(autouse=True)
def _quick_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare numba, which compiles UMAP for twenty seconds; test_annotation has the true one."""
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FirstTwo))
    monkeypatch.setattr(scanpy.pp, "neighbors", lambda _, **__: None)


@pytest.fixture
def names(
    cells: AnnData, runs: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[dict[str, Any]]:
    """What a page may use without making it; fits of two epochs; registries as they were."""
    monkeypatch.chdir(tmp_path)
    known = {"pbmc68k-reduced": cells}

    def quick_load(name: Any, **how: Any) -> Any:
        return known[name].copy() if name in known else load(name, **how)

    # the package itself keeps a name once it was asked for it
    for package in (vae4counts, inference):
        monkeypatch.setattr(package, "fit", quick_fit)
    for package in (vae4counts, data):
        monkeypatch.setattr(package, "load", quick_load)
    registries: list[Any] = [LIKELIHOODS, PRIORS, READERS]
    before = [list(registry) for registry in registries]
    messages = logging.getLogger("vae4counts")
    level = messages.level
    model, guide = small_pair()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield {
            "n": 7,
            "adata": cells.copy(),
            "model": model,
            "guide": guide,
            "fit": quick_fit,
            "guide_for": guide_for,
            "run": runs[0],
            "other": runs[1],
        }
    messages.setLevel(level)
    for registry, kept in zip(registries, before, strict=True):
        for name in set(registry) - set(kept):
            del registry[name]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_PYTHON)
def test_every_block_runs(page: str, names: dict[str, Any], tmp_path: Path) -> None:
    run_blocks(WITH_PYTHON[page], names)
    if page == "README.md":
        assert (tmp_path / "runs" / "pbmc" / "model.safetensors").exists()
        assert (tmp_path / "report.html").exists()
        assert {"X_vae", "responsibilities"} <= set(names["adata"].obsm)
    if page == "docs/pyro.md":  # the pair by hand learns
        assert np.mean(names["losses"][-6:]) < np.mean(names["losses"][:6]) - 1


def test_the_parts_of_contributing_work(names: dict[str, Any], tmp_path: Path) -> None:
    """Not only their definitions: each is fitted, and the reader reads."""
    run_blocks(ROOT / "CONTRIBUTING.md", names)
    from vae4counts.models import VAE

    adata = names["adata"]
    model = VAE(60, names["Laplace"](2), names["Geometric"]())
    run = names["fit"](model, names["LinearGuide"].for_model(model, None), adata)
    assert np.isfinite(run.evaluate(adata, num_samples=5).elbo)
    exact = names["Independent"](60)
    assert np.isfinite(names["fit"](exact, guide_for(exact), adata).evaluate(adata).elbo)
    np.save(tmp_path / "table.npy", np.eye(3))
    assert isinstance(load(tmp_path / "table.npy"), anndata.AnnData)


def test_the_readme_is_short() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_README_LINES


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if ours := OURS.match(target):
            assert (ROOT / target[ours.end() :]).exists(), target
        elif page.name == "README.md" and page.parent == ROOT:  # which index pages show too
            assert target.startswith("https://"), target
        elif not target.startswith("http"):
            assert (page.parent / target).exists(), target


COMMANDS = typer.main.get_command(app)
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def check_command(words: list[str]) -> None:
    """Have Typer parse a call of vae4counts."""
    command = COMMANDS.commands.get(words[0], COMMANDS)
    with suppress(typer.Exit):  # --help, --version
        command.make_context(words[0], words[1:] if command is not COMMANDS else words).close()


@pytest.mark.parametrize("page", WITH_SHELL)
def test_every_shell_command_is_one(page: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = "\n".join(blocks(WITH_SHELL[page], "sh")).splitlines()
    for words in filter(None, (shlex.split(line, comments=True) for line in lines)):
        program, *arguments = dropwhile(lambda word: re.match(r"[A-Z_]+=", word), words)
        if "vae4counts.inference" in arguments:  # torchrun ... -m
            check_command(arguments[arguments.index("vae4counts.inference") + 1 :])
        elif program == "vae4counts":
            check_command(arguments)
        elif program == "make":
            assert re.search(rf"^{arguments[0]}\b.*:", MAKEFILE, flags=re.MULTILINE), words
        elif program == "python" and "/" in arguments[0]:
            assert (ROOT / arguments[0]).exists(), words


@pytest.mark.slow
def test_every_call_of_ours_exists(names: dict[str, Any]) -> None:
    """Of the tables of calls of other packages, the last column runs."""
    page = ROOT / "docs" / "coming-from.md"
    run_blocks(page, names)
    rows = re.findall(r"^\|.*\| (.*) \|$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    calls = [call for row in rows for call in re.findall(r"`(.+?)`", row)]
    assert len(calls) > 60
    for call in calls:
        exec(compile(call, f"{page}: {call}", "exec"), names)  # noqa: S102
