"""What each table of a model of several tells about the observations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from pyro import poutine
from torch.distributions import constraints

from vae4counts.data import Batch
from vae4counts.inference.interpretation.directions import latent_effects
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.inference.posterior.draws import draw, draw_latents
from vae4counts.inference.posterior.tables import presence


@torch.no_grad()
def modality_table(pair: PairOnData, *, num_samples: int = 10) -> pd.DataFrame:
    r"""Return what each table says of the observations that have it.

    Args:
        pair: A pair and data.
        num_samples: Draws from q(z | x) for each observation.

    Returns:
        A row a table, means over the observations that have it:

        - ``observations``: how many have it.
        - ``log_likelihood``: ``E[log p(x_m | z)]`` in nats, given all tables.
        - ``information``: ``KL(q(z | x) || q(z | x without m))`` in nats, what it says of ``z``
          beyond the others; of an observation that has no other, beyond nothing.
        - of a mixture ``entropy`` and ``entropy_alone``, the entropies of the component in nats,
          given all tables and given this one alone; and ``agreement``, the share of the
          observations whose most likely component is the same by both.

    Raises:
        NotInModelError: The model has no latent space.
    """
    rows = [row for batch in pair.batches() for row in _rows(pair, batch, num_samples)]
    means = pd.DataFrame(rows).groupby("modality", sort=False)
    table = means.sum().div(means["observations"].sum(), axis=0)
    table["observations"] = means["observations"].sum()
    return table.loc[[name for name in pair.model.tables if name in table.index]]


def _rows(pair: PairOnData, batch: Batch, num_samples: int) -> Iterator[dict[str, Any]]:
    """Yield sums over the observations of a batch that have each table."""
    draws = draw(pair.model, pair.guide, batch, num_samples)
    z = draws.values["z"]  # noqa: PD011 (a field of Draws)
    log_q = torch.stack(list(draws.log_guide.values())).sum(0)
    for name, has in presence(batch).items():
        if not has.any():
            continue
        own = torch.from_numpy(has).to(z.device)
        others = batch.only([other for other in batch.tables if other != name])
        left = poutine.condition(pair.guide, {"z": z})
        site: Any = poutine.trace(left).get_trace(others).nodes["z"]
        information = log_q - site["fn"].log_prob(z)
        found = {
            "modality": name,
            "observations": int(has.sum()),
            "log_likelihood": draws.log_model[name].mean(0)[own].sum().item(),
            "information": information.mean(0)[own].sum().item(),
        }
        alone = draw_latents(pair.model, pair.guide, batch.only([name]), num_samples)
        shares, given = draws.mean_responsibilities, alone.mean_responsibilities
        if shares is not None and given is not None:
            same = given.argmax(-1) == shares.argmax(-1)
            found |= {
                "entropy": torch.special.entr(shares[own]).sum().item(),
                "entropy_alone": torch.special.entr(given[own]).sum().item(),
                "agreement": same[own].sum().item(),
            }
        yield found


def latent_shares(pair: PairOnData, *, num_points: int = 500) -> pd.DataFrame:
    r"""Return how much of each table's variation is along each latent.

    .. math:: V_{lm} = \frac{\sum_{j \in m} e_{jl}^2}{\sum_{l'} \sum_{j \in m} e_{jl'}^2}

    with the effects ``e`` of `latent_effects`, as the table of variance explained by factor and
    view of MOFA (Argelaguet et al. 2018). A latent that matters in one table alone is that table's
    own; one that matters in several is common to them. Features of values that are not counts,
    which have units of their own, count the same each.

    Args:
        pair: A pair and data.
        num_points: See `latent_effects`.

    Returns:
        Latents x tables; each column sums to 1.

    Raises:
        NotInModelError: The model has no latent space.
    """
    squares = latent_effects(pair, num_points=num_points).to_numpy() ** 2
    shares = {}
    for name, support in pair.model.supports.items():
        own = squares[pair.table_columns(name)]
        if support is not constraints.nonnegative_integer:
            own = own / np.maximum(own.sum(1, keepdims=True), np.finfo(float).tiny)
        shares[name] = own.sum(0) / max(own.sum(), np.finfo(float).tiny)
    return pd.DataFrame(shares, index=pair.latents).rename_axis(columns="modality")
