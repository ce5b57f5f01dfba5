"""The map coloured by what a person asks for: classes, numbers, features."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData

from vae4counts.data import UnknownName
from vae4counts.inference import Run
from vae4counts.inference.report.colour_by import coloured_by, in_steps

pytestmark = pytest.mark.slow


def test_numbers_are_cut_into_steps_that_outliers_do_not_stretch() -> None:
    values = np.r_[np.linspace(0.5, 1.5, 998), 1e6, np.nan]
    steps = in_steps(values)
    assert steps is not None
    assert np.bincount(steps.codes[:-1]).min() > 100
    assert steps.codes[-1] == -1
    assert (np.diff(steps.codes[:-1]) >= 0).all()
    assert steps.categories[-1].startswith("above")


def test_zeros_are_a_step_of_their_own() -> None:
    steps = in_steps(np.r_[np.zeros(90), np.arange(1, 11)])
    assert steps is not None
    assert next(iter(steps.categories)) == "0"
    assert (steps == "0").sum() == 90
    assert len(set(steps[90:])) > 5


@pytest.mark.parametrize("values", [[], [np.nan], [2.0, 2.0], [0.0, 0.0]])
def test_what_does_not_vary_has_no_steps(values: list[float]) -> None:
    assert in_steps(np.array(values)) is None


def test_a_feature_and_columns(run: Run, adata: AnnData) -> None:
    on = run.on(adata)
    feature = run.features[0]
    classes, colours = coloured_by(on, feature)
    counts = adata.layers["raw"].toarray()[:, list(adata.var_names).index(feature)]
    assert ((classes == "0").to_numpy() == (counts == 0)).all()
    assert set(colours) == set(classes.cat.categories)
    assert len(set(colours.values())) == len(colours)
    groups, _ = coloured_by(on, "group")
    assert list(groups) == list(adata.obs["group"].astype(str))
    with pytest.raises(UnknownName, match=r"'nothing'.*Nor is it a feature"):
        coloured_by(on, "nothing")
