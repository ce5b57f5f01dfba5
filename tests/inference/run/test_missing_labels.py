"""Missing values are neither a class, nor a donor, nor a part of the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from sklearn.metrics import adjusted_rand_score

from vae4counts.data import DataError
from vae4counts.guides import guide_for
from vae4counts.inference import Run, SplitOptions, fit
from vae4counts.inference.interpretation.components import by_label
from vae4counts.inference.posterior import evaluation
from vae4counts.models import VAE, Model
from vae4counts.models.priors import StandardNormal


@pytest.fixture
def gaps(adata: AnnData) -> AnnData:
    """Every third observation has no class."""
    adata.obs["kind"] = adata.obs["group"].astype(object).where(np.arange(100) % 3 > 0)
    adata.obs["number"] = np.where(np.arange(100) % 3 > 0, np.arange(100) % 2, np.nan)
    return adata


def test_only_labelled_observations_are_scored(
    run: Run, gaps: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored: list[np.ndarray] = []
    score = evaluation._agreement

    def noting(model: Model, shares: np.ndarray, labels: np.ndarray, n: int) -> dict[str, Any]:
        scored.append(shares)
        return score(model, shares, labels, n)

    monkeypatch.setattr(evaluation, "_agreement", noting)
    found = run.evaluate(gaps, label="kind", num_samples=5)
    rows = run.on(gaps).held_out
    labels = gaps.obs["kind"].iloc[rows]
    known = labels.notna().to_numpy()
    assert found.n_labelled == known.sum() < found.n == len(rows)
    components = scored[0].argmax(1)[known]
    assert found.ari == pytest.approx(adjusted_rand_score(labels[known], components))
    nothing = run.evaluate(gaps, label=None, num_samples=5)
    assert (nothing.n_labelled, nothing.ari) == (None, None)


def test_why_there_is_no_score_is_said(run: Run, gaps: AnnData) -> None:
    held_out = run.split.test
    gaps.obs["few"] = gaps.obs["group"].astype(object)
    gaps.obs.iloc[held_out, gaps.obs.columns.get_loc("few")] = None
    with pytest.warns(UserWarning, match="no ARI and NMI: none of these observations has a label"):
        assert run.evaluate(gaps, label="few", num_samples=2).ari is None


@pytest.mark.parametrize("value", [np.nan, None, "", pd.NA])
def test_a_label_without_any_value_is_one_clear_line(value: object, gaps: AnnData) -> None:
    gaps.obs["empty"] = pd.Series([value] * 100, index=gaps.obs_names, dtype=object)
    model = VAE(7, StandardNormal(2))
    with pytest.raises(DataError, match="The label column 'empty' has no value"):
        fit(model, guide_for(model), gaps, label="empty", epochs=1, progress=False)


def test_values_that_are_no_class(run: Run, gaps: AnnData) -> None:
    kind = str(gaps.obs["group"].iloc[0])
    run.settings["ignore_label"] = [kind, "unknown"]
    try:
        classes = run.on(gaps, label="group").classes
    finally:
        del run.settings["ignore_label"]
    assert classes is not None
    np.testing.assert_array_equal(pd.isna(classes), (gaps.obs["group"] == kind).to_numpy())


@pytest.mark.parametrize(("column", "value"), [("kind", None), ("number", 1), ("number", "1")])
def test_the_rest_is_what_is_known_to_be_something_else(
    column: str, value: object, run: Run, gaps: AnnData
) -> None:
    first = gaps.obs[column].dropna().iloc[0] if value is None else value
    table = run.interpret(gaps).differential_expression(column, first, num_pairs=20)
    known = gaps.obs[column].notna().to_numpy()
    one = (gaps.obs[column] == (1 if value is not None else first)).to_numpy()
    for number, mask in ((1, one), (2, known & ~one)):
        means = np.asarray(gaps.layers["raw"][mask].mean(0)).ravel()
        found = table[f"raw_mean{number}"].loc[list(gaps.var_names)]
        np.testing.assert_allclose(found, means, rtol=1e-5)


def test_a_column_without_values_has_nothing_to_compare(run: Run, gaps: AnnData) -> None:
    gaps.obs["empty"] = np.nan
    with pytest.raises(DataError, match=r"obs\['empty'\] has no values to compare"):
        run.interpret(gaps).differential_expression("empty")


def test_numbers_name_groups_however_they_are_written(run: Run, gaps: AnnData) -> None:
    tables = [
        run.interpret(gaps).differential_expression("number", value, num_pairs=20)
        for value in (1, 1.0, "1", np.int64(1), [1], (1.0,), np.array([1]))
    ]
    assert all(table.equals(tables[0]) for table in tables)
    assert tables[0]["group1"].unique().tolist() == ["1"]


def test_components_are_counted_over_labelled_observations() -> None:
    labels = pd.Series(["a", None, "b", "a"], name="kind")
    table = by_label(labels, pd.Series([0, 1, 1, 0]))
    assert table.to_numpy().sum() == 3
    assert list(table.index) == ["a", "b"]


def test_a_missing_donor_is_no_donor(gaps: AnnData) -> None:
    donors = np.array([f"d{i % 10}" for i in range(100)], dtype=object)
    donors[::7] = None
    gaps.obs["donor"] = donors
    model = VAE(7, StandardNormal(2))
    with pytest.warns(UserWarning, match=r"15 observations have no value in obs\['donor'\]"):
        run = fit(
            model,
            guide_for(model),
            gaps,
            epochs=1,
            progress=False,
            device="cpu",
            split=SplitOptions(group="donor"),
        )
    used = np.concatenate([run.split.train, run.split.validation, run.split.test])
    assert not set(used) & set(range(0, 100, 7))
    assert len(used) == 85
