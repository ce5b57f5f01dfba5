"""Draws from the posterior of all observations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.posterior.arviz import convert
from vae4counts.inference.posterior.draws import Draws, chunks, draw
from vae4counts.models import CountModel


def to_arviz(
    model: CountModel,
    guide: Guide,
    batches: Iterable[Batch],
    observations: Sequence[str],
    num_samples: int,
) -> Any:
    """Draws from the guide for all observations.

    Args:
        model: The model.
        guide: Its guide.
        batches: The observations, in order.
        observations: Their names.
        num_samples: Number of draws.

    Returns:
        See `convert`.
    """
    groups: dict[str, dict[str, list[np.ndarray]]] = {"posterior": {}, "log_likelihood": {}}
    for batch in batches:
        parts = [
            _sites(draw(model, guide, batch, size)) for size in chunks(num_samples, model, batch)
        ]
        for group, sites in groups.items():
            for name in parts[0][group]:
                all_draws = np.concatenate([part[group][name] for part in parts])
                sites.setdefault(name, []).append(all_draws)
    joined = {
        group: {name: np.concatenate(parts, axis=1)[None] for name, parts in sites.items()}
        for group, sites in groups.items()
    }
    return convert(joined, observations)


def _sites(draws: Draws) -> dict[str, dict[str, np.ndarray]]:
    """The draws by group and site. A component that was summed out is drawn given its ``z``."""
    values = dict(draws.values)
    if draws.responsibilities is not None and "component" not in values:
        values["component"] = torch.distributions.Categorical(draws.responsibilities).sample()
    return {
        "posterior": {name: value.cpu().numpy() for name, value in values.items()},
        "log_likelihood": {"counts": draws.log_model["counts"].cpu().numpy()},
    }
