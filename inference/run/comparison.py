"""Which of several runs explains held-out observations best."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd

from vae4counts.data import Data, DataError
from vae4counts.inference.posterior.comparison import largest_k, rank
from vae4counts.inference.run.fitted_pair import AS_FITTED, AsFitted
from vae4counts.inference.run.on_data import RunOnData
from vae4counts.inference.run.run import Run

# From this share of observations with bad weights on, the log-likelihoods come with a warning.
MAX_BAD_SHARE = 0.1


def compare(
    runs: Mapping[str, Run],
    adata: Data,
    *,
    layer: str | AsFitted | None = AS_FITTED,
    num_samples: int = 500,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank runs by the log-likelihood of observations that none of them was trained on.

    Columns: ``rank``, from 0 as in ArviZ; ``log_likelihood`` and its standard error ``se``, means
    per observation in nats; ``difference`` from the best run, with ``difference_se``, the standard
    error of the mean of the paired differences (a difference within two of them is no
    difference); and ``bad_k``, the share of observations whose importance weights have too heavy
    a tail to be trusted. They are ArviZ's ``elpd``, ``se``, ``elpd_diff`` and ``dse`` divided by
    the number of observations (for the standard errors too).

    The observations are held out, so nothing has to be left out of a fit. `arviz.loo` on the draws
    of a run would not do: it removes what an observation says about its own latents by weights
    ``1 / p(x | z)``, whose tails are too heavy. See `log_likelihoods` for how it is done.

    Args:
        runs: The runs by name.
        adata: The observations: the data that all runs were fitted to, of which the common test
            part is used; or data that none was fitted to, all of which are used.
        layer: The layer that holds the counts; None for ``X``; by default that of each run's fit.
        num_samples: Number of draws for each observation, 100 or more.
        seed: Seed of the draws.

    Returns:
        A row a run, the best first.

    Raises:
        DataError: The runs have different features, or different held-out observations.
        ValueError: Too few runs or draws, or a model whose likelihood is not one of the counts.

    Warns:
        UserWarning: Some of the runs are given each observation's total and others have to
            explain it, or weights are bad.
    """
    if len(runs) < 2:
        raise ValueError("a comparison needs two runs or more")
    _check_features(runs)
    on_data = {name: run.on(adata, layer=layer, seed=seed) for name, run in runs.items()}
    _check_held_out(on_data)
    given = [name for name, run in runs.items() if run.model.given_library]
    modelled = [name for name in runs if name not in given]
    if given and modelled:
        warnings.warn(
            f"{', '.join(given)}: given the total count of each observation, which "
            f"{', '.join(modelled)} must explain too: their log-likelihoods are not comparable",
            stacklevel=2,
        )
    results = {name: each.log_likelihoods(num_samples) for name, each in on_data.items()}
    table = rank({name: result["log_likelihood"].to_numpy() for name, result in results.items()})
    bad = {name: (result["pareto_k"] > largest_k(num_samples)) for name, result in results.items()}
    table["bad_k"] = pd.Series({name: values.mean() for name, values in bad.items()})
    if (table["bad_k"] > MAX_BAD_SHARE).any():
        warnings.warn(
            f"for over {100 * MAX_BAD_SHARE:.0f} % of the observations the importance weights have "
            "too heavy a tail (column bad_k): these log-likelihoods are too low by an unknown "
            "amount; take more draws, or train the guide for longer",
            stacklevel=2,
        )
    return table


def _check_features(runs: Mapping[str, Run]) -> None:
    (first, reference), *others = runs.items()
    for name, run in others:
        if set(run.features) != set(reference.features):
            raise DataError(
                f"{first} has {len(reference.features)} features and {name} has "
                f"{len(run.features)}, not the same: fit both to the same features"
            )


def _check_held_out(runs: Mapping[str, RunOnData]) -> None:
    """Make sure that all runs are measured on the same observations, none of them trained on."""
    (first, reference), *others = runs.items()
    for name, run in others:
        if run.is_fitted != reference.is_fitted:
            fitted, new = (name, first) if run.is_fitted else (first, name)
            raise DataError(
                f"{fitted} was fitted to these observations and {new} was not: compare runs of the "
                "same data, or use data that neither was fitted to"
            )
        if not np.array_equal(run.held_out, reference.held_out):
            raise DataError(
                f"{first} and {name} have not held out the same observations: fit both with the "
                "same split and seed"
            )
