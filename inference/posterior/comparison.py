"""Which of several runs explains held-out observations best."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy.special import logsumexp

from vae4counts.data import Batch, DataError
from vae4counts.guides import Guide
from vae4counts.inference.posterior.arviz import pareto_smoothed
from vae4counts.inference.posterior.draws import chunks, draw, require_counts
from vae4counts.models import Model

if TYPE_CHECKING:
    from vae4counts.inference.run.run import Run

# With fewer draws there are too few in the tail of the weights to fit its shape.
FEWEST_DRAWS = 100
# Log-weights that differ by less are the same but for rounding, and have no tail.
ROUNDING = 1e-6


def compare(
    runs: Mapping[str, Run], adata: AnnData, *, num_samples: int = 500, seed: int = 0
) -> pd.DataFrame:
    """Ranks runs by the log-likelihood of observations that none of them has trained on.

    Columns: ``rank``, from 0 as in ArviZ; ``log_likelihood`` and its standard error ``se``, means
    per observation in nats; ``difference`` from the best run, with ``difference_se``, the standard
    error of the mean of the paired differences (a difference within two of them is no
    difference); and ``bad_k``, the share of observations whose importance weights have too heavy
    a tail to be trusted. They are ArviZ's ``elpd``, ``se``, ``elpd_diff`` and ``dse`` divided by
    the number of observations (for the standard errors too).

    The observations are held out, so that nothing has to be left out of a fit. `arviz.loo` on the
    draws of a run would not do: it takes back what an observation says of its own latents by
    weights ``1 / p(x | z)``, whose tails are too heavy. See `log_likelihoods` for what is done.

    Args:
        runs: The runs by name.
        adata: The observations: the data that all runs were fitted to, of which the common test
            part counts; or data that none was fitted to, of which all count.
        num_samples: Number of draws for each observation, 100 or more.
        seed: Seed of the draws.

    Returns:
        A row a run, the best first.

    Raises:
        DataError: The runs have different features, or not the same held-out observations.
        ValueError: Too few runs or draws, or a model whose likelihood is not one of the counts.

    Warns:
        UserWarning: Some of the runs are given each observation's total and others have to
            explain it, or weights are bad.
    """
    if len(runs) < 2:
        raise ValueError("a comparison needs two runs or more")
    _check_held_out(runs, adata)
    given = [name for name, run in runs.items() if run.model.given_library]
    modelled = [name for name in runs if name not in given]
    if given and modelled:
        warnings.warn(
            f"{', '.join(given)}: given the total count of each observation, which "
            f"{', '.join(modelled)} must explain too: their log-likelihoods are not of the same",
            stacklevel=2,
        )
    results = {
        name: run.log_likelihoods(adata, num_samples=num_samples, seed=seed)
        for name, run in runs.items()
    }
    table = rank({name: result["log_likelihood"].to_numpy() for name, result in results.items()})
    bad = {name: (result["pareto_k"] > largest_k(num_samples)) for name, result in results.items()}
    table["bad_k"] = pd.Series({name: values.mean() for name, values in bad.items()})
    if (table["bad_k"] > 0.1).any():
        warnings.warn(
            "for over 10 % of the observations the importance weights have too heavy a tail "
            "(column bad_k): these log-likelihoods are too low by an unknown amount; take more "
            "draws, or train the guide for longer",
            stacklevel=2,
        )
    return table


def rank(log_likelihoods: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Ranks log-likelihoods of the same observations, shape ``(n,)`` each: see `compare`."""
    values = pd.DataFrame(dict(log_likelihoods))
    values = values[values.mean().sort_values(ascending=False, kind="stable").index]
    difference = values.sub(values.iloc[:, 0], axis=0)
    table = pd.DataFrame(
        {
            "rank": range(values.shape[1]),
            "log_likelihood": values.mean(),
            "se": values.sem(),
            "difference": difference.mean(),
            "difference_se": difference.sem(),
        }
    )
    return table.rename_axis("run")


def log_likelihoods(
    model: Model, guide: Guide, batches: Iterable[Batch], num_samples: int
) -> tuple[np.ndarray, np.ndarray]:
    r"""The log-likelihood of each observation, by Pareto-smoothed importance sampling.

    .. math:: \log p(x) \approx \log \frac1S \sum_s w_s, \qquad
              w_s = \frac{p(x, z_s)}{q(z_s \mid x)}, \quad z_s \sim q(z \mid x),

    with the largest weights replaced by the quantiles of a generalised Pareto distribution fitted
    to them (Vehtari et al. 2024). Its shape k tells how far the estimate can be trusted: see
    `largest_k`.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batches: The observations.
        num_samples: Number ``S`` of draws for each, 100 or more.

    Returns:
        The log-likelihoods in nats and the shapes k (minus infinity where all weights are the
        same, as for a guide that is the posterior), each of shape ``(n,)``.

    Raises:
        ValueError: Too few draws, or a likelihood that is not one of the counts.
    """
    require_counts(model)
    if num_samples < FEWEST_DRAWS:
        raise ValueError(f"num_samples is {num_samples}: it must be {FEWEST_DRAWS} or more")
    values, shapes = [], []
    for batch in batches:
        _check_lumped(model, batch)
        sizes = chunks(num_samples, model, batch)
        log_weights = torch.cat([draw(model, guide, batch, size).log_weights for size in sizes])
        value, k = smoothed_log_mean(log_weights.T.cpu().numpy())
        values.append(value)
        shapes.append(k)
    return np.concatenate(values), np.concatenate(shapes)


def smoothed_log_mean(log_weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Logarithm of the mean of Pareto-smoothed weights, and the shapes of their tails.

    Args:
        log_weights: Shape ``(n, S)``.

    Returns:
        Two arrays of shape ``(n,)``.
    """
    n, num_samples = log_weights.shape
    log_mean = logsumexp(log_weights, axis=1) - math.log(num_samples)
    k = np.full(n, -np.inf)
    varies = np.ptp(log_weights, axis=1) > ROUNDING
    if varies.any():
        raw = log_weights[varies]
        smoothed, k[varies] = pareto_smoothed(raw)
        # the median is in no tail: all that befell it is the normalisation, by the sum wanted here
        middle = np.argsort(raw, axis=1)[:, [num_samples // 2]]
        log_sum = np.take_along_axis(raw, middle, 1) - np.take_along_axis(smoothed, middle, 1)
        log_mean[varies] = log_sum[:, 0] - math.log(num_samples)
    return log_mean, k


def largest_k(num_samples: int) -> float:
    """The largest shape k of a tail that still can be trusted (Vehtari et al. 2024, eq. 13)."""
    return min(1 - 1 / math.log10(num_samples), 0.7)


def _check_held_out(runs: Mapping[str, Run], adata: AnnData) -> None:
    """Makes sure that all runs are measured on the same counts, and none on what it has seen."""
    knows = {name: run.knows(adata) for name, run in runs.items()}
    (first, reference), *others = runs.items()
    for name, run in others:
        if set(run.features) != set(reference.features):
            raise DataError(
                f"{first} has {len(reference.features)} features and {name} has "
                f"{len(run.features)}, not the same: fit both to the same features"
            )
        if knows[name] != knows[first]:
            names = (name, first) if knows[name] else (first, name)
            raise DataError(
                f"{names[0]} was fitted to these observations and {names[1]} was not: compare "
                "runs of the same data, or on data that neither was fitted to"
            )
        if knows[name] and not np.array_equal(run.split.test, reference.split.test):
            raise DataError(
                f"{first} and {name} have not held out the same observations: fit both with the "
                "same seed, validation and test"
            )


def _check_lumped(model: Model, batch: Batch) -> None:
    last = model.lumped_from
    if last is None or not batch.counts.values().numel():
        return
    largest = batch.counts.values().max().item()
    if largest > last:
        raise ValueError(
            f"{model.title} takes all counts from {last} on for one, and there is a count of "
            f"{largest:.0f}: its likelihood is not to be compared with that of others"
        )
