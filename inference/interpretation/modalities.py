"""What each table of a model of several tells about the observations."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from pyro import poutine

from vae4counts.data import Batch
from vae4counts.inference.interpretation.directions import latent_effects
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.inference.posterior.cross_modal import require_subsets
from vae4counts.inference.posterior.draws import draw, draw_latents
from vae4counts.inference.posterior.tables import presence
from vae4counts.models import NotInModelError

SMALLEST = np.finfo(float).tiny
# Of the search for axes: largest angles of a turn, in radians, and how many are tried up to them.
SPANS, N_ANGLES = (np.pi / 4, np.pi / 120, np.pi / 3600), 61
MOST_SWEEPS, SMALLEST_GAIN = 100, 1e-9


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
        NotInModelError: The model has no latent space of several tables, or posteriors are refined.
    """
    require_subsets(pair.guide)
    if pair.model.n_latent is None or len(pair.model.tables) == 1:
        raise NotInModelError(f"{pair.model.title} has no latent space of several tables")
    rows = [row for batch in pair.batches() for row in _rows(pair, batch, num_samples)]
    means = pd.DataFrame(rows).groupby("modality", sort=False)
    table = means.sum().div(means["observations"].sum(), axis=0)
    table["observations"] = means["observations"].sum()
    return table.loc[[name for name in pair.model.tables if name in table.index]]


def _rows(pair: PairOnData, batch: Batch, num_samples: int) -> Iterator[dict[str, Any]]:
    """Yield sums over the observations of a batch that have each table."""
    draws = draw(pair.model, pair.guide, batch, num_samples)
    z = draws.values["z"]  # noqa: PD011 (a field of Draws)
    log_q = draws.log_guide["z"]
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
    parts = _effects_by_table(pair, num_points)
    shares = {name: np.square(effects).sum(0) for name, effects in parts.items()}
    return pd.DataFrame(shares, index=pair.latents).rename_axis(columns="modality")


def shared_axes(pair: PairOnData, *, num_points: int = 500) -> pd.DataFrame:
    r"""Turn the latent space so that axes are common to tables, or a table's own.

    A prior that is the same in all directions leaves open by which axes the latent space is
    described: a latent of the model may mix what is common to tables with what is a table's own.
    With the effects ``e`` of `latent_effects` and ``A_m = sum_j e_j e_j^T`` over the features of a
    table, normalised to a trace of 1, the axes ``u`` are the rotation of the latents, in units of
    their standard deviations, with the smallest

    .. math:: \sum_u \sum_m \sqrt{u^T A_m u},

    a norm that is sparse in tables as the group lasso's is (Yuan & Lin 2006): an axis that does
    not matter in a table at all costs nothing there.

    Args:
        pair: A pair and data.
        num_points: See `latent_effects`.

    Returns:
        Axes x tables: the share ``u^T A_m u`` of the table's variation along the axis; each column
        sums to 1. Axes with the most variation in all tables together come first.
        ``attrs["directions"]`` has the axes as columns, latents x axes, in units of each latent's
        standard deviation.

    Raises:
        NotInModelError: The model has no latent space.
    """
    parts = _effects_by_table(pair, num_points)
    products = np.stack([effects.T @ effects for effects in parts.values()])
    turned = sparse_axes(products)
    shares = np.einsum("la,mlk,ka->am", turned, products, turned)
    order = np.argsort(-shares.sum(1), kind="stable")
    names = pd.Index([f"axis{number}" for number in range(len(order))], name="axis")
    table = pd.DataFrame(shares[order], names, pd.Index(list(parts), name="modality"))
    table.attrs["directions"] = pd.DataFrame(turned[:, order], pair.latents, names)
    return table


def sparse_axes(products: np.ndarray) -> np.ndarray:
    """Return the rotation whose axes matter in as few tables as can be.

    Pairs of axes are turned by the best of some angles until none is better, then by finer ones.

    Args:
        products: ``A_m``, symmetric and positive semidefinite, shape ``(M, L, L)``.

    Returns:
        An orthogonal matrix with the axes as columns, shape ``(L, L)``.
    """
    left, turned = products.copy(), np.eye(products.shape[-1])
    for widest in SPANS:
        angles = np.linspace(-widest, widest, N_ANGLES)
        c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
        for _ in range(MOST_SWEEPS):
            is_better = False
            for p, q in combinations(range(len(turned)), 2):
                first, second, mixed = left[:, p, p], left[:, q, q], left[:, p, q]
                one = c**2 * first + 2 * c * s * mixed + s**2 * second
                other = s**2 * first - 2 * c * s * mixed + c**2 * second
                norms = np.sqrt(np.maximum([one, other], 0)).sum((0, 2))
                best = int(norms.argmin())
                if norms[best] < norms[N_ANGLES // 2] - SMALLEST_GAIN:
                    is_better = True
                    rotation = np.array([[c[best, 0], -s[best, 0]], [s[best, 0], c[best, 0]]])
                    left[:, :, [p, q]] = left[:, :, [p, q]] @ rotation
                    left[:, [p, q], :] = rotation.T @ left[:, [p, q], :]
                    turned[:, [p, q]] = turned[:, [p, q]] @ rotation
            if not is_better:
                break
    return turned


def _effects_by_table(pair: PairOnData, num_points: int) -> dict[str, np.ndarray]:
    """The effects of latents on each table's features, ``(G_m, L)``, with squares that sum to 1.

    Features of values that are not counts have units of their own: they count the same each.
    """
    effects = latent_effects(pair, num_points=num_points).to_numpy()
    found = {}
    for name in pair.model.tables:
        own = effects[pair.table_columns(name)]
        if not pair.model.observed(name).holds_counts:
            own = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), SMALLEST)
        found[name] = own / max(np.linalg.norm(own), SMALLEST)
    return found
