"""Which of several runs explains held-out observations best."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd
from torch.distributions.constraints import Constraint

from vae4counts.data import Data, DataError
from vae4counts.data.warning import warn
from vae4counts.inference.posterior.comparison import rank
from vae4counts.inference.posterior.importance import largest_k
from vae4counts.inference.posterior.tables import feature_columns
from vae4counts.inference.run.fitted_pair import AS_FITTED, AsFitted
from vae4counts.inference.run.on_data import RunOnData
from vae4counts.inference.run.run import Run
from vae4counts.models import Model, NotInModelError

# From this share of observations with bad weights on, the log-likelihoods come with a warning.
MAX_BAD_SHARE = 0.1


# What a model may be given of an observation's total count, in words. The less it is given, the
# more its log-likelihood has to explain.
GIVEN = ("the total", "the library size", "nothing")

# What a model is given of each of its tables, as places in `GIVEN`.
Given = tuple[int, ...]


def compare(
    runs: Mapping[str, Run],
    adata: Data,
    *,
    layer: str | AsFitted | None = AS_FITTED,
    num_samples: int = 500,
    refine: bool = True,
    leave_one_out: bool = False,
    seed: int = 0,
) -> pd.DataFrame:
    """Rank runs by the log-likelihood of observations that none of them was trained on.

    Columns: ``given``, what the model is given of each observation's total count; ``rank``, from 0
    as in ArviZ; ``log_likelihood`` and its standard error ``se``, means per observation in nats;
    ``difference`` from the best run, with ``difference_se``, the standard error of the mean of the
    paired differences (a difference within two of them is no difference); ``bad_k``, the share
    of observations whose importance weights have too heavy a tail to be trusted; and
    ``effective_draws``, the median share of the draws that count. The log-likelihoods are ArviZ's
    ``elpd``, ``se``, ``elpd_diff`` and ``dse`` divided by the number of observations (for the
    standard errors too).

    Runs are ranked among those that are given the same: "the total" exactly, as by a multinomial,
    whose log-likelihood has nothing of it to explain (a Poisson likelihood is a multinomial that
    has, and can be compared with a negative binomial); "the library size", of which the counts'
    own total may differ; or "nothing".

    The observations are held out, so nothing has to be left out of a fit. `arviz.loo` on the draws
    of a run would not do: it removes what an observation says about its own latents by weights
    ``1 / p(x | z)``, whose tails are too heavy. See `log_likelihoods` for how it is done.

    Args:
        runs: The runs by name.
        adata: The observations: the data that all runs were fitted to, of which the common test
            part is used; or data that none was fitted to, all of which are used.
        layer: The layer that holds the counts; None for ``X``; by default that of each run's fit.
        num_samples: Number of draws for each observation, 100 or more.
        refine: Whether to refine the posterior of each observation first, see `RunOnData.refined`.
            Otherwise runs are ranked by model and guide together.
        leave_one_out: Whether to predict each count from all others of its observation as well:
            ``leave_one_out``, see `Evaluation`, with ``leave_one_out_se``, and its difference from
            the best in this, with a standard error; NaN for a model that cannot.
        seed: Seed of the draws.

    Returns:
        A row a run, the best first among those that are given the same.

    Raises:
        DataError: The runs have different features, or different held-out observations.
        ValueError: Too few runs or draws, or a model whose likelihood is not one of the counts.

    Warns:
        UserWarning: The runs are not given the same, or were fitted to different data; or weights
            are bad.
    """
    on_data = on_each(runs, adata, layer, seed)
    return compare_on(on_data, num_samples, refine=refine, leave_one_out=leave_one_out)


def on_each(
    runs: Mapping[str, Run],
    adata: Data,
    layer: str | AsFitted | None = AS_FITTED,
    seed: int = 0,
) -> dict[str, RunOnData]:
    """Return each run on the same data, which are read and recognised once if all read them alike.

    Raises:
        DataError: The runs have different features, or the data cannot be read.
        ValueError: Too few runs, or they have no names.
    """
    if not isinstance(runs, Mapping) or len(runs) < 2:
        raise ValueError('a comparison needs two runs or more by name: {"a": run, "b": other}')
    _check_features(runs)
    first, *others = runs.items()
    found = {first[0]: first[1].on(adata, layer=layer, seed=seed)}
    for name, run in others:
        read = found[first[0]].through(run)
        found[name] = run.on(adata, layer=layer, seed=seed) if read is None else read
    return found


def compare_on(
    on_data: Mapping[str, RunOnData],
    num_samples: int = 500,
    *,
    refine: bool = True,
    leave_one_out: bool = False,
) -> pd.DataFrame:
    """Rank runs on the same data: see `compare`."""
    _check_held_out(on_data)
    _warn_of_data(on_data)
    models = {name: each.run.model for name, each in on_data.items()}
    given = {name: _given(model) for name, model in models.items()}
    by_kind: dict[Given, list[str]] = {}
    for name, kind in sorted(given.items(), key=lambda item: item[1]):
        by_kind.setdefault(kind, []).append(name)
    words = {name: _in_words(models[name], kind) for name, kind in given.items()}
    kinds = {words[names[0]]: names for names in by_kind.values()}
    if len(kinds) > 1:
        listed = "; ".join(f"{', '.join(names)}: {kind}" for kind, names in kinds.items())
        warn(
            "the runs are not given the same of each observation's total count, and are ranked "
            f"apart, since their log-likelihoods are not comparable ({listed})"
        )
    results = {
        name: _log_likelihoods(each, num_samples, refine=refine, leave_one_out=leave_one_out)
        for name, each in on_data.items()
    }
    table = _ranked(results, "log_likelihood", kinds)
    bad = {name: (result["pareto_k"] > largest_k(num_samples)) for name, result in results.items()}
    table["bad_k"] = pd.Series({name: each.mean() for name, each in bad.items()})
    shares = {name: result["effective_draws"].median() for name, result in results.items()}
    table["effective_draws"] = pd.Series(shares)
    table.insert(0, "given", pd.Series(words))
    if leave_one_out:
        predicted = _ranked(results, "leave_one_out", kinds)
        table["leave_one_out"] = predicted["log_likelihood"]
        for column in ("se", "difference", "difference_se"):
            table[f"leave_one_out_{column}"] = predicted[column]
    if (table["bad_k"] > MAX_BAD_SHARE).any():
        remedy = "take more draws" if refine else "refine the posteriors (refine=True)"
        warn(
            f"for over {100 * MAX_BAD_SHARE:.0f} % of the observations the importance weights have "
            "too heavy a tail (column bad_k): these log-likelihoods are too low by an unknown "
            f"amount; {remedy}"
        )
    return table


def _log_likelihoods(
    on: RunOnData, num_samples: int, *, refine: bool, leave_one_out: bool
) -> pd.DataFrame:
    try:
        return on.log_likelihoods(num_samples, refine=refine, leave_one_out=leave_one_out)
    except NotInModelError:
        if not leave_one_out:
            raise
        return on.log_likelihoods(num_samples, refine=refine).assign(leave_one_out=math.nan)


def _ranked(
    results: Mapping[str, pd.DataFrame], column: str, kinds: Mapping[str, list[str]]
) -> pd.DataFrame:
    """Rank runs by a column of their results, among those that are given the same."""
    values = {name: result[column].to_numpy() for name, result in results.items()}
    return pd.concat([rank({name: values[name] for name in names}) for names in kinds.values()])


def _given(model: Model) -> Given:
    observed = [model.observed(table) for table in model.tables]
    return tuple(0 if each.given_total else 1 if each.given_library else 2 for each in observed)


def _in_words(model: Model, given: Given) -> str:
    if len(set(given)) == 1:
        return GIVEN[given[0]]
    return ", ".join(
        f"{GIVEN[kind]} of {table}" for table, kind in zip(model.tables, given, strict=True)
    )


def _warn_of_data(on_data: Mapping[str, RunOnData]) -> None:
    (first, reference), *others = on_data.items()
    differ = [n for n, each in others if each.run.fingerprint != reference.run.fingerprint]
    if differ:
        warn(
            f"{', '.join(differ)}: not fitted to the data that {first} was fitted to, so that the "
            "difference is also one of the data"
        )


def _check_features(runs: Mapping[str, Run]) -> None:
    (first, reference), *others = runs.items()
    for name, run in others:
        if set(run.features) != set(reference.features):
            raise DataError(
                f"{first} has {len(reference.features)} features and {name} has "
                f"{len(run.features)}, not the same: fit both to the same features"
            )
        if _supports(run) != _supports(reference):
            raise DataError(
                f"{first} and {name} take some features for other kinds of values: the "
                "log-likelihoods of counts and of other numbers cannot be compared"
            )


def _supports(run: Run) -> dict[str, Constraint]:
    """The values that each feature may have."""
    columns = {table: feature_columns(run.model, table) for table in run.model.tables}
    supports = run.model.supports
    return {name: supports[table] for table, own in columns.items() for name in run.features[own]}


def _check_held_out(runs: Mapping[str, RunOnData]) -> None:
    """Make sure that all runs are measured on the same observations, none of them trained on."""
    (first, reference), *others = runs.items()
    for name, run in others:
        if run.is_fitted != reference.is_fitted:
            fitted, new = (name, first) if run.is_fitted else (first, name)
            raise DataError(
                f"{fitted} was fitted to these observations and {new} to other data: compare runs "
                "of the same data, or use data that neither was fitted to"
            )
        if not np.array_equal(run.held_out, reference.held_out):
            raise DataError(
                f"{first} and {name} have not held out the same observations: fit both with the "
                "same split and seed"
            )
