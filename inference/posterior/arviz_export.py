"""Draws from posterior and prior of all observations, kept for ArviZ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae4counts.data import Batch, UnknownName
from vae4counts.data.counts.batch import spread
from vae4counts.inference.posterior.arviz import convert
from vae4counts.inference.posterior.draws import (
    Draws,
    draw_prior,
    draws_at,
)
from vae4counts.inference.posterior.samplers import Sampler
from vae4counts.inference.posterior.sizes import check_size
from vae4counts.inference.posterior.tables import (
    feature_columns,
    require_likelihoods,
)
from vae4counts.models import Model

# What the probabilities of the states of a mixture's component are called.
RESPONSIBILITIES = {"component": "responsibilities"}

Parts = dict[str, dict[str, np.ndarray]]


def to_arviz(
    model: Model,
    sampler: Sampler,
    batches: Iterable[Batch],
    observations: Sequence[str],
    features: Sequence[str],
    num_samples: int,
    sites: Sequence[str] | None = None,
) -> Any:
    """Draw from posterior and prior for all observations, and keep the draws.

    The groups are ``posterior`` and ``prior`` (the latents), ``log_likelihood`` (log p(values |
    latents) in nats, a variable a table, see below) and ``sample_stats`` (of draws from a guide
    ``log_weight``, log p(values, latents) - log q(latents | values): resample by it to correct
    the guide; of chains ``lp``, log p(values, latents), ``acceptance_rate``, ``step_size`` and
    ``diverging``; and the probabilities of the states of each enumerated site:
    ``responsibilities`` for the components, ``SITE_probabilities`` for others).
    With a table come ``posterior_predictive``, ``prior_predictive`` and ``observed_data``. Those
    of several tables are floating-point numbers, NaN for an observation that lacks the table, as is
    its ``log_likelihood``. The model's covariates are coordinates along ``obs``. Dimensions:
    ``chain``, ``draw``, ``obs``, ``feature`` (of several tables one each: ``rna_feature``), those
    that the model's latents declare, and for probabilities the name of the site.

    The latents are each observation's own, so that ``log_likelihood`` is that of an observation
    given what it has said about itself. `arviz.loo`, `arviz.waic` and `arviz.compare` would take
    it for a prediction: compare runs by `vae4counts.inference.compare`, which integrates the
    latents out over observations that training has not seen. The group's attributes say so too.

    Args:
        model: The model, in evaluation mode.
        sampler: Where the draws of the posterior come from.
        batches: The observations, in order; they are iterated over several times.
        observations: Their names.
        features: Names of the model's features.
        num_samples: Number of draws of each chain.
        sites: Sites of the model to keep; all its latents if None.

    Returns:
        ``arviz.InferenceData`` (ArviZ 0.x) or an xarray ``DataTree`` (ArviZ 1.x).

    Raises:
        NotInModelError: ``sites`` names a table of which the model describes something else, see
            `require_likelihoods`.
        TooLargeError: The result would be larger than 4 GiB.
        UnknownName: The model has no such site.
        ValueError: ``num_samples`` is below 1.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}: it must be 1 or more")
    latents = [latent.name for latent in model.latents]
    latents, tables = _choose(sites, latents, model.tables)
    require_likelihoods(model, tables)
    first = next(iter(batches))
    free = [latent.name for latent in model.latents if latent.states is None]
    values = {name: value for name, value in draw_prior(model, first, 1).items() if name in free}
    one = draws_at(model, first, values, 1)
    one_draw = _size(_groups(model, one, first, latents, tables)) / len(first)
    total = num_samples * sampler.chains
    check_size(
        total * one_draw * len(observations),
        f"{total} draws of {', '.join([*latents, *tables])} for {len(observations):,} observations",
        "use fewer draws, sites or observations, or Run.predictive, which summarises the draws and "
        "keeps none",
    )

    results: Parts = {}
    row = 0
    for batch in batches:
        sample = 0
        for draws in sampler.draws(batch, num_samples):
            groups = _groups(model, draws, batch, latents, tables)
            n = len(draws.log_weights)
            for group, variables in groups.items():
                for name, x in variables.items():
                    shape = (total, len(observations), *x.shape[2:])
                    kept = results.setdefault(group, {}).setdefault(name, np.empty(shape, x.dtype))
                    kept[sample : sample + n, row : row + len(batch)] = x
            sample += n
        row += len(batch)
    for variables in results.values():
        for name, x in variables.items():
            variables[name] = x.reshape(sampler.chains, num_samples, *x.shape[1:])
    if tables:
        results["observed_data"] = {
            name: np.concatenate([_numbers(model, name, _all_rows(b, name)) for b in batches])
            for name in tables
        }
    covariates = _covariates(model, batches)
    of_tables = {_feature_axis(model, n): features[feature_columns(model, n)] for n in model.tables}
    return convert(results, observations, of_tables, _dimensions(model), covariates)


def _groups(
    model: Model, draws: Draws, batch: Batch, latents: Sequence[str], tables: Sequence[str]
) -> Parts:
    """Return arrays of some draws by group and variable, each of shape ``(S, B, ...)``."""
    shape = draws.log_weights.shape
    posterior = draws.latents()
    prior = model.draw(batch, shape[0]) if tables else draw_prior(model, batch, shape[0])
    groups: dict[str, dict[str, Tensor]] = {
        "posterior": {name: posterior[name] for name in latents},
        "prior": {name: prior[name] for name in latents},
        "sample_stats": {
            "log_weight" if draws.log_guide else "lp": draws.log_weights,
            **draws.stats,
            **{_probabilities(n): x for n, x in draws.probabilities.items() if n in latents},
        },
        "log_likelihood": {
            name: _where_present(draws.log_model[name], batch, name)
            for name in model.tables
            if name in draws.log_model
        },
    }
    arrays = {
        group: {name: x.cpu().numpy() for name, x in variables.items()}
        for group, variables in groups.items()
        if variables
    }
    if tables:
        predicted = model.draw(batch, shape[0], given=posterior)
        arrays["posterior_predictive"] = {
            name: _numbers(model, name, predicted[name]) for name in tables
        }
        arrays["prior_predictive"] = {name: _numbers(model, name, prior[name]) for name in tables}
    return arrays


def _choose(
    sites: Sequence[str] | None, latents: Sequence[str], tables: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Return the latents and the tables among some sites."""
    if sites is None:
        return list(latents), []
    wanted = [sites] if isinstance(sites, str) else list(sites)
    for name in wanted:
        if name not in (*latents, *tables):
            raise UnknownName("site", name, [*latents, *tables])
    return [name for name in latents if name in wanted], [name for name in tables if name in wanted]


def _covariates(model: Model, batches: Iterable[Batch]) -> dict[str, np.ndarray]:
    """Return the covariates of all observations, levels by their names."""
    if not model.covariates:
        return {}
    parts = [model.covariates.named(batch.covariates) for batch in batches]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _dimensions(model: Model) -> dict[str, str]:
    """Name the last dimension of each variable that has one."""
    named = {name: _feature_axis(model, name) for name in model.tables}
    for latent in model.latents:
        if latent.dimension is not None:
            named[latent.name] = latent.dimension
        if latent.states is not None:
            named[_probabilities(latent.name)] = latent.name
    return named


def _feature_axis(model: Model, table: str) -> str:
    """Name the axis of a table's features."""
    return "feature" if len(model.tables) == 1 else f"{table}_feature"


def _probabilities(site: str) -> str:
    """Name the variable that holds the probabilities of a site's states."""
    return RESPONSIBILITIES.get(site, f"{site}_probabilities")


def _size(parts: Parts) -> int:
    """In bytes."""
    return sum(x.nbytes for variables in parts.values() for x in variables.values())


def _numbers(model: Model, table: str, values: Tensor) -> np.ndarray:
    """Return values of a table: whole numbers where none can be missing."""
    is_whole = len(model.tables) == 1 and model.observed(table).holds_counts
    return values.to(torch.int32 if is_whole else torch.float32).cpu().numpy()


def _all_rows(batch: Batch, table: str) -> Tensor:
    """Return a table's values for all observations of a batch, NaN for those that lack it."""
    values, rows = batch.tables[table].values.to_dense(), batch.tables[table].rows
    return values if rows is None else spread(values, rows, len(batch), fill=torch.nan)


def _where_present(log_probs: Tensor, batch: Batch, table: str) -> Tensor:
    """Return log-probabilities ``(S, B)``, NaN for the observations that lack a table."""
    return log_probs.masked_fill(~batch.tables[table].present(len(batch)), torch.nan)
