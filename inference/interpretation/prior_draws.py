"""Draws from the model itself, without data: distributions of counts as the prior has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from vae4counts.data.counts.batch import COUNTS, Batch
from vae4counts.inference.interpretation.fitted import CHUNK_ROWS
from vae4counts.inference.posterior.draws import CHUNK_NUMBERS
from vae4counts.models import Model, NotInModelError
from vae4counts.models.joint import JointDistribution

NOTHING: Mapping[str, float] = MappingProxyType({})


@torch.no_grad()
def prior_draws(
    model: Model, library: Tensor, fixed: Mapping[str, float] = NOTHING
) -> Iterator[JointDistribution]:
    """Draws the latents from the prior and gives the counts' distributions, chunk by chunk.

    Args:
        model: The model, in evaluation mode.
        library: Library sizes in counts, shape ``(S,)``, one a draw; read by models that observe
            them.
        fixed: Values of latent sites that are not to be drawn: ``{"component": 3}``.

    Yields:
        Distributions over counts, batch shape ``(B,)``, together ``S`` of them.

    Raises:
        NotInModelError: The model is not one of counts.
    """
    if not model.holds_counts or model.reads_counts:
        raise NotInModelError(f"{type(model).__name__} has no distribution over counts")
    size = max(1, min(CHUNK_ROWS, CHUNK_NUMBERS // model.numbers_per_draw))
    for sizes in library.split(size):
        given = {name: torch.full_like(sizes, value) for name, value in fixed.items()}
        if "component" in given:
            given["component"] = given["component"].long()
        trace: Any = poutine.trace(poutine.condition(model, given)).get_trace(_empty(model, sizes))
        yield trace.nodes[COUNTS]["fn"]


@torch.no_grad()
def component_weights(model: Model) -> Tensor:
    """Prior weights of the components, shape ``(K,)``.

    Raises:
        NotInModelError: The model is no mixture.
    """
    device = next(model.parameters()).device
    sites: Any = poutine.trace(model).get_trace(_empty(model, torch.ones(1, device=device))).nodes
    if "component" not in sites:
        raise NotInModelError(f"this {type(model).__name__} has no components")
    return sites["component"]["fn"].probs.reshape(-1)


def presence(counts: JointDistribution, columns: Tensor) -> Tensor:
    """Probability that a feature is there at all, ``1 - p(0)``, shape ``(B, F)``."""
    return -torch.expm1(counts.log_prob_at(columns, columns.new_zeros(len(columns)).float()))


def _empty(model: Model, library: Tensor) -> Batch:
    """A batch of observations without counts: models draw their latents without looking."""
    n = len(library)
    nothing = library.new_empty(0)
    counts = torch.sparse_csr_tensor(
        torch.zeros(n + 1, dtype=torch.int32, device=library.device),
        nothing.int(),
        nothing,
        size=(n, model.n_features),
        check_invariants=False,
    )
    return Batch.of_counts(counts, library, torch.arange(n, device=library.device), n)
