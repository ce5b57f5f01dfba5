"""Draws from posterior and prior of all observations, kept for ArviZ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae4counts.data import Batch, UnknownName
from vae4counts.guides import Guide
from vae4counts.inference.posterior.arviz import convert
from vae4counts.inference.posterior.draws import chunks, draw, draw_prior, require_counts
from vae4counts.inference.posterior.sizes import check_size
from vae4counts.models import Model

# What the probabilities of the states of a mixture's component are called.
RESPONSIBILITIES = {"component": "responsibilities"}

Parts = dict[str, dict[str, np.ndarray]]


def to_arviz(
    model: Model,
    guide: Guide,
    batches: Iterable[Batch],
    observations: Sequence[str],
    features: Sequence[str],
    num_samples: int,
    sites: Sequence[str] | None = None,
) -> Any:
    """Draw from the guide and from the model for all observations, and keep the draws.

    The groups are ``posterior`` and ``prior`` (the latents), ``log_likelihood`` (log p(counts |
    latents) in nats, see below) and ``sample_stats`` (``log_weight``, log p(counts, latents) -
    log q(latents | counts): resample by it to correct the guide; and the probabilities of the
    states of each enumerated site: ``responsibilities`` for the components, ``SITE_probabilities``
    for others).
    With the counts come ``posterior_predictive``, ``prior_predictive`` and ``observed_data``.
    Dimensions: ``chain``, ``draw``, ``obs``, ``feature``, those that the model's latents declare,
    and for probabilities the name of the site.

    The latents are each observation's own, so that ``log_likelihood`` is that of an observation
    given what it has said about itself. `arviz.loo`, `arviz.waic` and `arviz.compare` would take
    it for a prediction: compare runs by `vae4counts.inference.compare`, which integrates the
    latents out over observations that training has not seen. The group's attributes say so too.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batches: The observations, in order; they are iterated over twice.
        observations: Their names.
        features: Names of the features.
        num_samples: Number of draws.
        sites: Sites of the model to keep; all its latents if None.

    Returns:
        ``arviz.InferenceData`` (ArviZ 0.x) or an xarray ``DataTree`` (ArviZ 1.x).

    Raises:
        NotInModelError: ``sites`` names a table that does not hold counts.
        TooLargeError: The result would be larger than 4 GiB.
        UnknownName: The model has no such site.
        ValueError: ``num_samples`` is below 1.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}: it must be 1 or more")
    latents = [latent.name for latent in model.latents]
    latents, tables = _choose(sites, latents, model.tables)
    if tables:
        require_counts(model)
    first = next(iter(batches))
    one_draw = _size(_groups(model, guide, first, 1, latents, tables)) / len(first)
    check_size(
        num_samples * one_draw * len(observations),
        f"{num_samples} draws of {', '.join([*latents, *tables])} for {len(observations):,} "
        "observations",
        "use fewer draws, sites or observations, or Run.predictive, which summarises the draws and "
        "keeps none",
    )

    results: Parts = {}
    row = 0
    for batch in batches:
        sample = 0
        for n in chunks(num_samples, model, batch):
            for group, variables in _groups(model, guide, batch, n, latents, tables).items():
                for name, x in variables.items():
                    shape = (1, num_samples, len(observations), *x.shape[2:])
                    kept = results.setdefault(group, {}).setdefault(name, np.empty(shape, x.dtype))
                    kept[0, sample : sample + n, row : row + len(batch)] = x
            sample += n
        row += len(batch)
    if tables:
        results["observed_data"] = {
            name: np.concatenate([_whole(b.tables[name].values.to_dense()) for b in batches])
            for name in tables
        }
    return convert(results, observations, features, _dimensions(model))


def _groups(
    model: Model,
    guide: Guide,
    batch: Batch,
    num_samples: int,
    latents: Sequence[str],
    tables: Sequence[str],
) -> Parts:
    """Draw for one batch: arrays by group and variable, each of shape ``(S, B, ...)``."""
    draws = draw(model, guide, batch, num_samples)
    posterior = draws.latents()
    prior = model.draw(batch, num_samples) if tables else draw_prior(model, batch, num_samples)
    groups: dict[str, dict[str, Tensor]] = {
        "posterior": {name: posterior[name] for name in latents},
        "prior": {name: prior[name] for name in latents},
        "sample_stats": {
            "log_weight": draws.log_weights.expand(num_samples, len(batch)),
            **{_probabilities(n): x for n, x in draws.probabilities.items() if n in latents},
        },
        "log_likelihood": {n: draws.log_model[n] for n in model.tables if n in draws.log_model},
    }
    arrays = {
        group: {name: x.cpu().numpy() for name, x in variables.items()}
        for group, variables in groups.items()
        if variables
    }
    if tables:
        predicted = model.draw(batch, num_samples, given=posterior)
        arrays["posterior_predictive"] = {name: _whole(predicted[name]) for name in tables}
        arrays["prior_predictive"] = {name: _whole(prior[name]) for name in tables}
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


def _dimensions(model: Model) -> dict[str, str]:
    """Name the last dimension of each variable that has one."""
    named = dict.fromkeys(model.tables, "feature")
    for latent in model.latents:
        if latent.dimension is not None:
            named[latent.name] = latent.dimension
        if latent.states is not None:
            named[_probabilities(latent.name)] = latent.name
    return named


def _probabilities(site: str) -> str:
    """Name the variable that holds the probabilities of a site's states."""
    return RESPONSIBILITIES.get(site, f"{site}_probabilities")


def _size(parts: Parts) -> int:
    """In bytes."""
    return sum(x.nbytes for variables in parts.values() for x in variables.values())


def _whole(counts: Tensor) -> np.ndarray:
    return counts.to(torch.int32).cpu().numpy()
