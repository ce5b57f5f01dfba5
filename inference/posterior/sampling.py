"""Draws from the posterior of all observations, kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vae4counts.data import Batch, UnknownName
from vae4counts.guides import Guide
from vae4counts.inference.posterior.arviz import convert
from vae4counts.inference.posterior.draws import (
    chunks,
    draw,
    draw_prior,
    require_counts,
)
from vae4counts.models import Model

# Results that would be larger are refused: 4 GiB.
MOST_BYTES = 4 * 2**30
COUNTS = "counts"

Parts = dict[str, dict[str, np.ndarray]]


class TooManyDrawsError(ValueError):
    """Draws that would not fit in memory."""


def to_arviz(
    model: Model,
    guide: Guide,
    batches: Iterable[Batch],
    observations: Sequence[str],
    features: Sequence[str],
    num_samples: int,
    sites: Sequence[str] | None = None,
) -> Any:
    """Draws from the guide and from the model for all observations, and keeps the draws.

    The groups are ``posterior`` and ``prior`` (the latents), ``log_likelihood`` (log p(counts |
    latents) in nats) and ``sample_stats`` (``log_weight``, log p(counts, latents) - log q(latents |
    counts): resample by it to correct the guide; ``responsibilities`` of the components). With the
    counts come ``posterior_predictive``, ``prior_predictive`` and ``observed_data``. Dimensions:
    ``chain``, ``draw``, ``obs``, ``feature``, ``latent``, ``component``.

    Args:
        model: The model, in evaluation mode.
        guide: Its guide, in evaluation mode.
        batches: The observations, in order; gone through twice.
        observations: Their names.
        features: Names of the features.
        num_samples: Number of draws.
        sites: Sites of the model to keep; all its latents if None.

    Returns:
        ``arviz.InferenceData`` (ArviZ 0.x) or an xarray ``DataTree`` (ArviZ 1.x).

    Raises:
        TooManyDrawsError: The result would be larger than 4 GiB.
        UnknownName: The model has no such site.
        ValueError: No draws are asked for; or counts, of a model that does not give any.
    """
    if num_samples < 1:
        raise ValueError(f"num_samples is {num_samples}: it must be 1 or more")
    first = next(iter(batches))
    chosen = _choose(sites, [*draw_prior(model, first, 1), COUNTS])
    if COUNTS in chosen:
        require_counts(model)
    one_draw = _size(_groups(model, guide, first, 1, chosen)) / len(first) * len(observations)
    if num_samples * one_draw > MOST_BYTES:
        raise TooManyDrawsError(
            f"{num_samples} draws of {', '.join(chosen)} for {len(observations):,} observations "
            f"take {num_samples * one_draw / 2**30:,.1f} GiB, more than the "
            f"{MOST_BYTES / 2**30:.0f} GiB that are kept at once: ask for fewer draws, sites or "
            "observations, or for Run.predictive, which summarises the draws and keeps none"
        )

    results: Parts = {}
    row = 0
    for batch in batches:
        sample = 0
        for size in chunks(num_samples, model, batch):
            for group, variables in _groups(model, guide, batch, size, chosen).items():
                for name, x in variables.items():
                    shape = (1, num_samples, len(observations), *x.shape[2:])
                    kept = results.setdefault(group, {}).setdefault(name, np.empty(shape, x.dtype))
                    kept[0, sample : sample + size, row : row + len(batch)] = x
            sample += size
        row += len(batch)
    if COUNTS in chosen:
        rows = [_whole(batch.counts.to_dense()) for batch in batches]
        results["observed_data"] = {COUNTS: np.concatenate(rows)}
    return convert(results, observations, features)


def _groups(
    model: Model, guide: Guide, batch: Batch, num_samples: int, sites: Sequence[str]
) -> Parts:
    """The draws of one batch by group and variable, each of shape ``(S, B, ...)``."""
    draws = draw(model, guide, batch, num_samples)
    posterior = draws.latents()
    prior = (
        model.draw(batch, num_samples) if COUNTS in sites else draw_prior(model, batch, num_samples)
    )
    latents = [name for name in sites if name != COUNTS]
    groups: dict[str, dict[str, Tensor]] = {
        "posterior": {name: posterior[name] for name in latents},
        "prior": {name: prior[name] for name in latents},
        "sample_stats": {"log_weight": draws.log_weights.expand(num_samples, len(batch))},
        "log_likelihood": {COUNTS: draws.log_model[COUNTS]},
    }
    if draws.responsibilities is not None and "component" in latents:
        groups["sample_stats"]["responsibilities"] = draws.responsibilities
    arrays = {
        group: {name: x.cpu().numpy() for name, x in variables.items()}
        for group, variables in groups.items()
        if variables
    }
    if COUNTS in sites:
        predicted = model.draw(batch, num_samples, given=posterior)
        arrays["posterior_predictive"] = {COUNTS: _whole(predicted[COUNTS])}
        arrays["prior_predictive"] = {COUNTS: _whole(prior[COUNTS])}
    return arrays


def _choose(sites: Sequence[str] | None, known: Sequence[str]) -> list[str]:
    if sites is None:
        return [name for name in known if name != COUNTS]
    asked = [sites] if isinstance(sites, str) else list(sites)
    for name in asked:
        if name not in known:
            raise UnknownName("site", name, known)
    return [name for name in known if name in asked]


def _size(parts: Parts) -> int:
    """In bytes."""
    return sum(x.nbytes for variables in parts.values() for x in variables.values())


def _whole(counts: Tensor) -> np.ndarray:
    return counts.to(torch.int32).cpu().numpy()
