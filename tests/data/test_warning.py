"""Warnings are about a line of the caller's own, however deep inside of the package they arise."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts.data import CountMatrix, load
from vae4counts.data.warning import warn
from vae4counts.guides import guide_for
from vae4counts.inference import compare, fit
from vae4counts.models import GMVAE
from vae4counts.models.priors import GaussianMixture


def made(n: int = 40, empty: int = 1) -> AnnData:
    counts = np.random.default_rng(0).poisson(2.0, (n, 6)).astype(np.float32)
    counts[:, :empty] = 0
    names = pd.DataFrame(index=[f"cell{i}" for i in range(n)])
    return AnnData(counts, names, pd.DataFrame(index=[f"gene{j}" for j in range(6)]))


@pytest.fixture(scope="module")
def run() -> Any:
    torch.manual_seed(0)
    model = GMVAE(6, GaussianMixture(2, 2))
    options = {"epochs": 1, "learning_rate": 1e-3, "progress": False, "device": "cpu"}
    return fit(model, guide_for(model), made(empty=0), **options)


def counts(run: Any, table: Path) -> None:
    CountMatrix.from_anndata(made())


def fitting(run: Any, table: Path) -> None:
    fit(run.model, run.guide, made(), epochs=1, progress=False, device="cpu")


def another_order(run: Any, table: Path) -> None:
    run.evaluate(made()[:, ::-1].copy())


def few_draws(run: Any, table: Path) -> None:
    run.interpret(made(empty=0)).expected_given({"gene1": 2}, num_samples=10)


def comparing(run: Any, table: Path) -> None:
    deeper = made(empty=0)
    deeper.X = 50 * deeper.X  # of such counts the guide has not seen any
    compare({"a": run, "b": run}, deeper, num_samples=100, refine=False)


def directly(run: Any, table: Path) -> None:
    warn("one's own")


def reading(run: Any, table: Path) -> None:
    load(table)


ASKED = {
    counts: "no counts at all",
    fitting: "no counts at all|collapsed",
    another_order: "in the model's order",
    few_draws: "make what is given likely",
    comparing: "too heavy a tail",
    directly: "one's own",
    reading: "sample_id' not counted",
}


@pytest.mark.parametrize("ask", ASKED)
def test_a_warning_names_the_line_that_asked(
    ask: Callable[[Any, Path], None], run: Any, tmp_path: Path
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("cell,sample_id,g1,g2\nc1,7,1,2\nc2,8,3,4\nc3,9,0,1\n")
    with pytest.warns(UserWarning, match=ASKED[ask]) as caught:
        ask(run, table)
    assert {each.filename for each in caught if issubclass(each.category, UserWarning)} == {
        __file__
    }


def test_a_part_of_the_data_warns_of_no_features_anew(run: Any) -> None:
    other = made(empty=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.on(other[:20].copy())
    other.X[3] = 0
    with pytest.warns(UserWarning, match="1 of 40 observations have no counts"):
        run.on(other)
