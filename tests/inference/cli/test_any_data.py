"""Whole commands on made files of every format: odd names, types, labels and sizes, and damage.

Whatever a file holds, a command ends in results or in one line, and what has been trained is there.
``VAE4COUNTS_EXAMPLES=500 pytest tests/inference/cli/test_any_data.py`` tries more of them.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from vae4counts.inference import Run
from vae4counts.inference.cli import app
from vae4counts.inference.fitting.checkpoints import found
from vae4counts.inference.fitting.step import Steps
from vae4counts.inference.run import storage
from vae4counts.models.likelihoods.registry import LIKELIHOODS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

EXAMPLES = int(os.environ.get("VAE4COUNTS_EXAMPLES", "8"))
SECONDS = 30
NAMES = st.one_of(
    st.sampled_from(
        [
            "$x_1$",
            "\\frac",
            "[bold]red[/bold]",
            "[/]",
            "<script>alert(1)</script>",
            "a/b",
            "..",
            "_index",
            "__class__",
            "",
            " ",
            "nan",
            "NA",
            "x" * 300,
            "two\nlines",
            "tab\there",
            "'; drop",
            '"quoted"',
            "a,b",
            "日本語",
            "עברית",
            "é",
            "🧬",
            "%s %d {}",
            "&amp;",
            "#1",
            "1",
            "1.0",
            "True",
            "rest",
            "component",
            "X_vae",
        ]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)
VALUES: dict[str, Callable[[np.random.Generator, tuple[int, int]], np.ndarray]] = {
    "counts": lambda random, shape: random.poisson(1.0, shape),
    "sparse": lambda random, shape: random.poisson(0.05, shape),
    "zeros": lambda _, shape: np.zeros(shape),
    "constant": lambda _, shape: np.ones(shape),
    "large": lambda random, shape: random.poisson(1e6, shape),
    "larger": lambda random, shape: random.poisson(1.0, shape) * 1e15,
    "fractions": lambda random, shape: random.random(shape),
    "negative": lambda random, shape: random.poisson(1.0, shape) - 1.0,
    "missing": lambda random, shape: np.where(random.random(shape) < 0.1, np.nan, 1.0),
}


@st.composite
def tables(draw: st.DrawFn) -> ad.AnnData:
    """Observations with odd names, values and columns."""
    n, g = draw(st.integers(1, 40)), draw(st.integers(1, 8))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    usual = st.sampled_from(["counts"] * 6 + list(VALUES))
    values = VALUES[draw(usual)](random, (n, g)).astype(draw(st.sampled_from(["f4", "f8"])))
    some = draw(st.lists(NAMES, min_size=1, max_size=6))
    named = draw(st.booleans())
    obs = pd.DataFrame(index=[some[i % len(some)] if named else f"c{i}" for i in range(n)])
    var = pd.DataFrame(index=[some[i % len(some)] if named else f"g{i}" for i in range(g)])
    labels = [some[i % len(some)] for i in range(n)]
    kinds: list[Any] = [
        labels,
        pd.Categorical(labels),
        np.arange(n) % 3,
        np.where(np.arange(n) % 2, np.nan, 1.0),
        np.full(n, np.nan),
        pd.array([None if i % 3 else "x" for i in range(n)], dtype="string"),
    ]
    obs["kind"] = draw(st.sampled_from(kinds))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.AnnData(values, obs, var)


def write_h5ad(form: Callable[[Any], Any]) -> Callable[[ad.AnnData, Path], Path]:
    def write(adata: ad.AnnData, folder: Path) -> Path:
        adata.X = form(adata.X)
        adata.write_h5ad(folder / "data.h5ad")
        return folder / "data.h5ad"

    return write


def write_zarr(adata: ad.AnnData, folder: Path) -> Path:
    adata.write_zarr(folder / "data.zarr")
    return folder / "data.zarr"


def write_table(ending: str, between: str) -> Callable[[ad.AnnData, Path], Path]:
    def write(adata: ad.AnnData, folder: Path) -> Path:
        adata.to_df().to_csv(folder / f"data{ending}", sep=between)
        return folder / f"data{ending}"

    return write


def write_10x(adata: ad.AnnData, folder: Path) -> Path:
    scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(adata.X.T))
    lines = [f"{name}\t{name}\tGene Expression" for name in adata.var_names]
    (folder / "features.tsv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "barcodes.tsv").write_text("\n".join(adata.obs_names), encoding="utf-8")
    return folder


def write_coco(adata: ad.AnnData, folder: Path) -> Path:
    pairs = np.argwhere(np.nan_to_num(np.asarray(adata.X)) > 0)
    instances = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(adata.obs_names)],
        "categories": [{"id": j, "name": name} for j, name in enumerate(adata.var_names)],
        "annotations": [
            {"id": k, "image_id": int(i), "category_id": int(j), "iscrowd": 0}
            for k, (i, j) in enumerate(pairs)
        ],
    }
    (folder / "data.json").write_text(json.dumps(instances), encoding="utf-8")
    return folder / "data.json"


WRITERS: dict[str, Callable[[ad.AnnData, Path], Path]] = {
    "dense h5ad": write_h5ad(np.asarray),
    "csr h5ad": write_h5ad(sp.csr_matrix),
    "csc h5ad": write_h5ad(sp.csc_matrix),
    "zarr": write_zarr,
    "csv": write_table(".csv", ","),
    "tsv": write_table(".tsv.gz", "\t"),
    "10x": write_10x,
    "coco": write_coco,
}


def damage(path: Path, random: np.random.Generator) -> None:
    """Cut a file short, or change some of its bytes; of a folder, one of its files."""
    files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
    file = files[random.integers(len(files))]
    content = bytearray(file.read_bytes())
    if not content:
        return
    if random.random() < 0.5:
        content = content[: random.integers(len(content))]
    else:
        for place in random.integers(len(content), size=4):
            content[place] = random.integers(256)
    file.write_bytes(bytes(content))


def call(*words: object) -> Result:
    """Run a command, and make sure that it ends as it should."""
    started = time.monotonic()
    result = CliRunner().invoke(app, list(map(str, words)))
    # counts of 10^15 may have no finite loss, which is a failed fit, not bad input
    has_failed = result.exit_code == 1 and "is not finite" in result.stderr
    assert has_failed or result.exit_code in (0, 2), (words, result.output, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    if result.exit_code:
        assert "error: " in result.stderr, words
    assert time.monotonic() - started < SECONDS, words
    return result


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # shrinking would take minutes
    suppress_health_check=list(HealthCheck),
)
@given(
    adata=tables(),
    writer=st.sampled_from(list(WRITERS)),
    model=st.sampled_from(["gmvae", "gmvae", "vae", "count-mixture"]),
    likelihood=st.sampled_from([n for n, kind in LIKELIHOODS.items() if kind.support.counts]),
    labelled=st.booleans(),
    damaged=st.sampled_from([None, None, None, 1, 2, 3]),
    later=st.sampled_from(["evaluate", "report", "annotate", "figures"]),
)
def test_any_data_end_in_results_or_in_a_line(
    adata: ad.AnnData,
    writer: str,
    model: str,
    likelihood: str,
    labelled: bool,
    damaged: int | None,
    later: str,
) -> None:
    steps = []
    take = Steps.take

    def counted(self: Steps, batch: Any) -> Any:
        steps.append(1)
        return take(self, batch)

    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name) / "data"
        folder.mkdir()
        try:
            path = WRITERS[writer](adata, folder)
        except Exception:  # anndata itself cannot write it
            return
        if damaged is not None:
            damage(path, np.random.default_rng(damaged))
        out = Path(name) / "out"
        patch.setattr(Steps, "take", counted)
        words = ["fit", path, "--out", out, "--epochs", 3, "--device", "cpu", "--model", model]
        words += ["--likelihood", likelihood]
        words += ["--components", 2] if model != "vae" else []
        words += ["--latents", 2] if model != "count-mixture" else []
        words += ["--label", "kind"] if labelled and "h5ad" in writer else []
        result = call(*words)
        if result.exit_code == 0:
            assert len(Run.load(out).history)
            call(later, out)
        elif steps:  # an error after training has begun
            assert storage.has_ended(out) or found(storage.checkpoints_of(out)), result.output
