"""Covariates that go together are named before training."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association

from vae4counts.guides import guide_for
from vae4counts.inference import fit
from vae4counts.inference.fitting.confounding import (
    confounded,
    correlation_ratio,
    cramers_v,
    is_nested,
    warn_of_confounding,
    warn_of_untrained,
)
from vae4counts.models import VAE, Covariates
from vae4counts.models.priors import StandardNormal


def said(label: np.ndarray | None = None, **columns: np.ndarray) -> list[str]:
    """The warnings about columns: whole numbers are codes."""
    levels = {
        name: [str(code) for code in range(int(each.max()) + 1)] if each.dtype.kind == "i" else None
        for name, each in columns.items()
    }
    tensors = {name: torch.tensor(each) for name, each in columns.items()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_confounding(tensors, levels, None if label is None else "type", label)
    return [str(each.message) for each in caught if issubclass(each.category, UserWarning)]


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_cramers_v_without_its_correction_is_that_of_scipy(rng: np.random.Generator) -> None:
    first = rng.integers(3, size=400)
    second = np.where(rng.random(400) < 0.6, first, rng.integers(4, size=400))
    table = pd.crosstab(first, second).to_numpy()
    plain = association(table, method="cramer")
    n, (r, c) = 400, table.shape
    # Bergsma's correction, from scipy's V: chi2 = n V^2 min(r - 1, c - 1)
    phi2 = plain**2 * (min(r, c) - 1) - (r - 1) * (c - 1) / (n - 1)
    expected = np.sqrt(phi2 / (min(r - (r - 1) ** 2 / 399, c - (c - 1) ** 2 / 399) - 1))
    assert cramers_v(first, second) == pytest.approx(expected)
    assert cramers_v(first, second) < plain


def test_cramers_v_of_a_table_by_hand() -> None:
    # chi2 = n (ad - bc)^2 / 50^4 = 36
    first = np.repeat([0, 0, 1, 1], [40, 10, 10, 40])
    second = np.repeat([0, 1, 0, 1], [40, 10, 10, 40])
    assert chi2_contingency([[40, 10], [10, 40]], correction=False).statistic == pytest.approx(36)
    assert cramers_v(first, second) == pytest.approx(np.sqrt((0.36 - 1 / 99) / (1 - 1 / 99)))


def test_independent_columns_of_many_levels_have_a_v_of_about_zero(
    rng: np.random.Generator,
) -> None:
    first, second = rng.integers(30, size=300), rng.integers(20, size=300)
    assert association(pd.crosstab(first, second).to_numpy(), method="cramer") > 0.2
    assert cramers_v(first, second) < 0.1
    assert cramers_v(np.arange(300), second) < 0.1
    assert cramers_v(np.zeros(300), second) == 0


def test_the_correlation_ratio_is_that_of_an_analysis_of_variance(
    rng: np.random.Generator,
) -> None:
    codes = rng.integers(3, size=200)
    numbers = codes + rng.normal(size=200)
    dummies = np.eye(3)[codes]
    fitted = dummies @ np.linalg.lstsq(dummies, numbers, rcond=None)[0]
    expected = np.sqrt(
        1 - ((numbers - fitted) ** 2).sum() / ((numbers - numbers.mean()) ** 2).sum()
    )
    assert correlation_ratio(numbers, codes) == pytest.approx(expected)
    assert correlation_ratio(np.ones(200), codes) == 0


def test_covariates_that_have_nothing_to_do_with_each_other_pass(
    rng: np.random.Generator,
) -> None:
    label = np.array(["x", "y"])[rng.integers(2, size=300)].astype(object)
    label[:5] = np.nan
    columns = {"batch": rng.integers(3, size=300), "day": rng.integers(4, size=300)}
    assert not said(label, **columns, mito=rng.normal(size=300), age=rng.normal(size=300))


def test_each_faulty_pair_is_named_once(rng: np.random.Generator) -> None:
    batch = rng.integers(3, size=600)
    day = np.where(rng.random(600) < 0.97, batch, rng.integers(3, size=600))
    mito = rng.normal(size=600)
    found = said(batch=batch, day=day, mito=mito, ribo=mito + 0.1 * rng.normal(size=600))
    assert len(found) == 2
    assert "'batch' and 'day' go together (Cramér's V 0.9" in found[0]
    assert re.search(r"'mito' and 'ribo' go together \(correlation (0.99|1.00)\)", found[1])


def test_a_number_that_is_one_for_each_level_is_named(rng: np.random.Generator) -> None:
    batch = rng.integers(3, size=300)
    (found,) = said(batch=batch, depth=2.0 * batch + 0.1 * rng.normal(size=300))
    assert "'batch' and 'depth' go together (correlation ratio 1.00)" in found


def test_nested_and_equal_factors_are_told_apart(rng: np.random.Generator) -> None:
    donor = rng.integers(6, size=300)
    (nested,) = said(batch=donor // 2, donor=donor)
    assert "'donor' lies within 'batch'" in nested
    (same,) = said(batch=donor, donor=5 - donor)
    assert "the same classes" in same
    assert is_nested(donor, donor // 2)
    assert not is_nested(donor // 2, donor)


def test_what_three_covariates_have_together_is_found_by_the_rank(
    rng: np.random.Generator,
) -> None:
    first, second = rng.normal(size=(2, 300))
    (found,) = said(a=first, b=second, c=first - second, batch=rng.integers(3, size=300))
    assert found.startswith("the covariates 'a', 'b', 'c' determine one another")
    # two halves that share no level: within each, the effects have a constant that is free
    day = rng.integers(4, size=300)
    site = 2 * (day // 2) + rng.integers(2, size=300)
    assert confounded({"day": day, "site": site}, set()) == ["day", "site"]


def test_a_constant_covariate_is_named(rng: np.random.Generator) -> None:
    (found,) = said(batch=np.zeros(50, dtype=int), mito=rng.normal(size=50))
    assert "'batch' has the same value" in found


def test_a_covariate_that_is_the_label_is_named(rng: np.random.Generator) -> None:
    donor = rng.integers(6, size=300)
    classes = np.array(["x", "y", "z"])[donor // 2].astype(object)
    assert "each level of 'donor' has a single class of 'type'" in said(classes, donor=donor)[0]
    batch = np.where(rng.random(300) < 0.98, donor // 2, 0)
    assert "'batch' and 'type' go together (Cramér's V 0.9" in said(classes, batch=batch)[0]
    depth = donor // 2 + 0.01 * rng.normal(size=300)
    assert "'depth' and 'type' go together (correlation ratio" in said(classes, depth=depth)[0]


def test_fit_warns_before_it_trains(adata: AnnData) -> None:
    adata.obs["batch"] = adata.obs["group"].map({"a": "1", "b": "2"})
    model = VAE(adata.n_vars, StandardNormal(2), covariates=Covariates.of(adata, ["batch"]))
    with pytest.warns(UserWarning, match="'batch' has a single class of 'group'"):
        fit(model, guide_for(model), adata, epochs=1, label="group", progress=False, device="cpu")


def test_levels_that_training_does_not_see_are_named() -> None:
    levels = {"batch": ["a", "b", "c"], "depth": None}
    with pytest.warns(UserWarning, match=r"no training observation has 'batch' of 'a', 'c'"):
        warn_of_untrained(levels, {"batch": torch.tensor([1, 1]), "depth": torch.rand(2)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_untrained(levels, {"batch": torch.tensor([0, 1, 2]), "depth": torch.rand(3)})
