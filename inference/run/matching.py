"""Which components of one run are which of another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.optimize import linear_sum_assignment

from vae4counts.data import Data
from vae4counts.inference.posterior.stability import jaccard
from vae4counts.inference.run.comparison import on_each
from vae4counts.inference.run.fitted_pair import AS_FITTED, AsFitted
from vae4counts.inference.run.on_data import RunOnData
from vae4counts.inference.run.run import Run


def compare_components(
    runs: Mapping[str, Run], adata: Data, *, layer: str | AsFitted | None = AS_FITTED, seed: int = 0
) -> pd.DataFrame:
    """Tell which component of the first run became which of the others.

    Components are matched one to one such that their agreement, the Jaccard coefficient of their
    responsibilities for all observations, is largest in total. Components that runs with other
    seeds find again, with an agreement near 1, can be believed.

    Args:
        runs: The runs by name; those without components are left out.
        adata: The observations.
        layer: The layer that holds the counts; None for ``X``; by default that of each run's fit.
        seed: Seed of the draws.

    Returns:
        A row for each component of the first run that has any and each other run: ``component``,
        ``run``, ``match`` (None for a component that is left over), ``agreement`` (0 to 1), and
        ``observations``, the number of those whose most likely component it is.

    Raises:
        DataError: The runs have different features, or the data cannot be read.
        ValueError: Fewer than two runs have components.
    """
    return compare_components_on(on_each(runs, adata, layer, seed))


def compare_components_on(on_data: Mapping[str, RunOnData]) -> pd.DataFrame:
    """Match components of runs on the same data: see `compare_components`."""
    mixtures = with_components(on_data)
    if len(mixtures) < 2:
        raise ValueError(f"{len(mixtures)} of the runs have components: two or more can be matched")
    found = {name: on.summary()[1] for name, on in mixtures.items()}
    shares = {name: each for name, each in found.items() if each is not None}
    first, *others = shares
    sizes = np.bincount(shares[first].argmax(1), minlength=shares[first].shape[1])
    tables = [
        match_components(shares[first], shares[name]).assign(run=name, observations=sizes)
        for name in others
    ]
    columns = ["component", "run", "match", "agreement", "observations"]
    return pd.concat([each.reset_index() for each in tables], ignore_index=True)[columns]


def with_components(on_data: Mapping[str, RunOnData]) -> dict[str, RunOnData]:
    """Return the runs whose models have components; nothing is computed to know."""
    return {
        name: on
        for name, on in on_data.items()
        if any(latent.name == "component" for latent in on.run.model.latents)
    }


def match_components(first: np.ndarray, second: np.ndarray) -> pd.DataFrame:
    """Match the components of two mixtures of the same observations, one to one.

    Args:
        first: Responsibilities, shape ``(N, K)``.
        second: Those of the other mixture, shape ``(N, M)``.

    Returns:
        A row for each of the ``K`` components: ``match``, a component of the other mixture, None
        for those that are left over; and ``agreement``, their Jaccard coefficient.
    """
    likeness = jaccard(first, second)
    rows, columns = linear_sum_assignment(likeness, maximize=True)
    index = pd.Index([str(k) for k in range(len(likeness))], name="component")
    table = pd.DataFrame({"match": None, "agreement": 0.0}, index=index)
    table.loc[index[rows], "match"] = [str(k) for k in columns]
    table.loc[index[rows], "agreement"] = likeness[rows, columns]
    return table
