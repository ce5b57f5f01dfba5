"""Draws from the model itself, without data: distributions of counts under the prior."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from vae4counts.data.counts.batch import Batch, Table
from vae4counts.inference.interpretation.pair_on_data import CHUNK_ROWS, PairOnData
from vae4counts.inference.posterior.draws import CHUNK_NUMBERS
from vae4counts.inference.posterior.tables import joint_distribution
from vae4counts.models import NotInModelError
from vae4counts.models.joint import JointDistribution

NO_VALUES: Mapping[str, float] = MappingProxyType({})
# Draws over which the weights of components are averaged that depend on other latents.
WEIGHT_DRAWS = 256


@torch.no_grad()
def prior_draws(
    pair: PairOnData, library: Tensor, fixed: Mapping[str, float] = NO_VALUES
) -> Iterator[tuple[JointDistribution, Tensor]]:
    """Draw the latents from the prior and yield the counts' distributions, chunk by chunk.

    Args:
        pair: A pair and data. The model's covariates are held at ``pair.at``, and drawn in the
            proportions of the training observations otherwise.
        library: Library sizes in counts, shape ``(S, M)``, for each draw and table; read by models
            that are given them.
        fixed: Values of latent sites that are not to be drawn: ``{"component": 3}``. Sites that
            the model does not have are ignored.

    Yields:
        Distributions over counts, batch shape ``(B,)``, together ``S`` of them; and their weights,
        shape ``(B,)``: the probabilities of the fixed states, given the latents that they depend
        on. Weighted averages are then expectations given the states.

    Raises:
        NotInModelError: The model does not describe its tables by joint distributions given its
            latents.
    """
    model = pair.model
    states = {latent.name: latent.states for latent in model.latents if latent.name in fixed}
    size = max(1, min(CHUNK_ROWS, CHUNK_NUMBERS // model.numbers_per_draw))
    for sizes in library.split(size):
        given = {
            name: torch.full_like(sizes[:, 0], fixed[name], dtype=None if n is None else torch.long)
            for name, n in states.items()
        }
        nodes = _trace(poutine.condition(model, given), _empty(pair, sizes))
        counts = joint_distribution(model, nodes)
        weights = torch.ones_like(sizes[:, 0], dtype=torch.float64)
        for name, n in states.items():
            if n is not None:
                weights *= nodes[name]["fn"].log_prob(given[name]).exp()
        yield counts, weights


@torch.no_grad()
def component_weights(pair: PairOnData) -> Tensor:
    """Return the prior weights of the components, shape ``(K,)``, float64.

    They are averages over a few draws where components depend on other latents.

    Raises:
        NotInModelError: The model is not a mixture.
    """
    model = pair.model
    if all(latent.name != "component" for latent in model.latents):
        raise NotInModelError(f"{model.title} has no components")
    one_each = next(model.parameters()).new_ones(WEIGHT_DRAWS, len(model.tables))
    component = _trace(model, _empty(pair, one_each))["component"]["fn"]
    log_probs: Tensor = component.log_prob(component.enumerate_support(expand=False))
    return log_probs.double().exp().mean(-1)


def expected_counts(counts: JointDistribution) -> Tensor:
    """Return expected counts, shape ``(B, G)``.

    Raises:
        NotInModelError: The distribution has no mean in closed form.
    """
    try:
        return counts.mean
    except NotImplementedError as error:
        raise NotInModelError(f"a {type(counts).__name__} has no mean in closed form") from error


def _trace(model: Any, batch: Batch) -> Any:
    return poutine.trace(model).get_trace(batch).nodes


def _empty(pair: PairOnData, library: Tensor) -> Batch:
    """Make a batch of observations without values: models draw latents without reading them."""
    model, n = pair.model, len(library)
    sizes = zip(model.table_sizes.items(), library.unbind(-1), strict=True)
    tables = {name: _empty_table(size, own) for (name, size), own in sizes}
    covariates = model.covariates.drawn(n, pair.at, library.device)
    return Batch(tables, torch.arange(n, device=library.device), n, covariates)


def _empty_table(n_features: int, library: Tensor) -> Table:
    nothing = library.new_empty(0)
    values = torch.sparse_csr_tensor(
        torch.zeros(len(library) + 1, dtype=torch.int32, device=library.device),
        nothing.int(),
        nothing,
        size=(len(library), n_features),
        check_invariants=False,
    )
    return Table(values, library)
