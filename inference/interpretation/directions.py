"""Directions of the latent space: how much they vary, what they change, and paths along them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch

from vae4counts.data import DataError
from vae4counts.inference.interpretation.pair_on_data import PairOnData
from vae4counts.inference.interpretation.rates import mean_rates


@torch.no_grad()
def latent_table(pair: PairOnData, *, num_samples: int = 10) -> pd.DataFrame:
    r"""Return the spread of each latent's aggregate posterior ``1/N sum_i q(z | x_i)``.

    .. math:: \mathrm{sd}^2 = \mathrm{Var}_i(E[z \mid x_i]) + E_i[\mathrm{Var}(z \mid x_i)]
              = \mathrm{sd\_between}^2 + \mathrm{sd\_within}^2.

    A latent that tells the observations apart has an ``sd_between`` well above its
    ``sd_within``; one that the model does not use has hardly any.

    Args:
        pair: A pair and data.
        num_samples: Draws of ``z`` for each observation, 2 or more.

    Returns:
        A row a latent: ``mean``, ``sd``, ``sd_between``, ``sd_within``.

    Raises:
        NotInModelError: The model has no latent space.
        ValueError: Fewer than 2 draws.
    """
    if num_samples < 2:
        raise ValueError(f"num_samples is {num_samples}: it must be 2 or more")
    means, within = [], []
    for z, _ in pair.draws(torch.arange(len(pair.counts)), repeats=num_samples):
        grouped = z.double().unflatten(0, (-1, num_samples))
        means.append(grouped.mean(1))
        within.append(grouped.var(1))
    mean, inner = torch.cat(means), torch.cat(within).mean(0)
    # means of a few draws vary by part of the inner spread
    outer = (mean.var(0, correction=0) - inner / num_samples).clamp_min(0)
    table = {
        "mean": mean.mean(0),
        "sd": (outer + inner).sqrt(),
        "sd_between": outer.sqrt(),
        "sd_within": inner.sqrt(),
    }
    return pd.DataFrame({k: v.cpu().numpy() for k, v in table.items()}, index=pair.latents)


@torch.no_grad()
def latent_effects(pair: PairOnData, *, num_points: int = 500) -> pd.DataFrame:
    r"""Return what each latent does to each feature, for decoders of any kind.

    .. math:: E_z[\log_2 \rho_j(z + s_l e_l) - \log_2 \rho_j(z - s_l e_l)]

    over draws ``z`` of the aggregate posterior, with the latent's own standard deviation
    ``s_l``: the log2 fold change from one standard deviation below to one above. For a linear
    decoder this is ``2 s_l W_jl / log 2``, up to a constant that all features share.

    Args:
        pair: A pair and data.
        num_points: Draws over which the effect is averaged.

    Returns:
        Features x latents.

    Raises:
        NotInModelError: The model has no latent space.
    """
    points = _cloud_of_all(pair, num_points)
    effects = torch.zeros(len(pair.features), points.shape[1]).double()
    for latent, step in enumerate(points.std(0, correction=0)):
        # one observation at a time would be slow, all at once would take much memory
        for z in points.split(50):
            for sign in (1, -1):
                moved = z.clone()
                moved[:, latent] += sign * step
                log_rates = pair.comparable(pair.rates(moved, 1.0)).double()
                effects[:, latent] += sign * log_rates.sum(0).cpu()
    index = pd.Index(pair.features, name="feature")
    return pd.DataFrame(effects.numpy() / num_points, index=index, columns=pair.latents)


@torch.no_grad()
def traverse_latent(
    pair: PairOnData,
    latent: int | str,
    *,
    span: float = 2.0,
    steps: int = 9,
    library_size: float = 1e4,
    num_points: int = 200,
) -> pd.DataFrame:
    """Return expected rates along one latent, with the others as they are in the data.

    This is the partial dependence (Friedman 2001) of the rates on the latent: averages over draws
    of the aggregate posterior, in all of which the latent is set to the same value.

    Args:
        pair: A pair and data.
        latent: Its number, or its name (``"z3"``).
        span: Distance to either side of the mean, in standard deviations of the latent.
        steps: Number of points along the path.
        library_size: See `denoised`.
        num_points: Draws over which the rates are averaged.

    Returns:
        Steps x features; the index is the distance from the mean in standard deviations.

    Raises:
        DataError: No such latent.
        NotInModelError: The model has no latent space.
    """
    names = list(pair.latents)
    which = names.index(latent) if latent in names else latent
    if not isinstance(which, (int, np.integer)) or not 0 <= which < len(names):
        raise DataError(f"there is no latent {latent!r}: they are {names[0]} to {names[-1]}")
    points = _cloud_of_all(pair, num_points)
    mean, scale = points[:, which].mean(), points[:, which].std(correction=0)
    positions = np.linspace(-span, span, steps)
    along = []
    for position in positions:
        moved = points.clone()
        moved[:, which] = mean + float(position) * scale
        along.append(mean_rates(pair, moved, library_size))
    index = pd.Index(positions, name=f"{names[which]} (standard deviations)")
    return pd.DataFrame(np.stack(along), index=index, columns=pair.features)


@torch.no_grad()
def traverse_groups(
    pair: PairOnData,
    start: np.ndarray,
    end: np.ndarray,
    *,
    steps: int = 9,
    library_size: float = 1e4,
    num_points: int = 200,
) -> pd.DataFrame:
    """Return expected rates on the path from one group of observations to another.

    They are ``E[rates((1 - t) z + t z')]`` over pairs of draws from the two groups' aggregate
    posteriors; at either end, the mean rates of a group.

    Args:
        pair: A pair and data.
        start: Mask of the first group.
        end: Mask of the second.
        steps: Number of points along the path.
        library_size: See `denoised`.
        num_points: Pairs over which the rates are averaged.

    Returns:
        Steps x features; the index is ``t``, from 0 to 1.
    """
    first, last = pair.cloud(start, num_points), pair.cloud(end, num_points)
    positions = np.linspace(0, 1, steps)
    along = [mean_rates(pair, torch.lerp(first, last, float(t)), library_size) for t in positions]
    index = pd.Index(positions, name="way")
    return pd.DataFrame(np.stack(along), index=index, columns=pair.features)


def _cloud_of_all(pair: PairOnData, n: int) -> torch.Tensor:
    return pair.cloud(np.ones(len(pair.counts), dtype=bool), n)
