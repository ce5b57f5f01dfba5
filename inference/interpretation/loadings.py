"""The loadings of a linear decoder: a table, signs, and a rotation that makes it simpler."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from vae4counts.guides import Guide
from vae4counts.inference.interpretation.pair_on_data import latent_names
from vae4counts.models import Model

# Steps towards a simple structure; a few dozen are usual.
MOST_ROTATIONS = 1000


def loadings(model: Model, features: Sequence[str]) -> pd.DataFrame | None:
    r"""Return a table of loadings, features x latents (Svensson et al. 2020).

    .. math:: \log \rho_j = b_j + \sum_l W_{jl} z_l + \mathrm{const}

    A loading ``W_jl`` is the change of a feature's log-rate (nats) for one unit of a latent. In a
    model with a library size a constant that all features share changes nothing, so each column
    is centred: a loading is then relative to the average feature.

    *Signs*: the largest loading in absolute value of each latent is positive; `fit` turns the
    latents so, see `orient_signs`.

    *Spread*: the weights are point estimates and have no posterior to show. What varies is ``z``:
    multiply a column by its latent's ``sd`` (see `latent_table`) for the spread of log-rates that
    the latent causes in the data.

    *Rotation*: under a N(0, I) prior the latents may be rotated without changing the model. Read
    the loadings as a subspace then, not axis by axis, or rotate them by `varimax`. A mixture
    prior of diagonal Gaussians changes under a rotation, so its axes mean more.

    Args:
        model: Any model.
        features: Names of its features.

    Returns:
        The table, or None if the decoder is not linear, or does not give log-rates (for a
        categorical likelihood).
    """
    weight = model.loadings()
    if weight is None:
        return None
    index = pd.Index(features, name="feature")
    return pd.DataFrame(weight.cpu().numpy(), index=index, columns=latent_names(weight.shape[1]))


def varimax(table: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Rotate loadings so that each factor has few large ones (Kaiser 1958).

    The rotation ``R`` is orthogonal: latents ``z R`` with loadings ``W R`` give the same rates,
    and have the same N(0, I) prior. A mixture prior would be rotated too and would no longer be
    diagonal, but the rotated latents still describe the same model.

    Args:
        table: Loadings, features x latents.

    Returns:
        The rotated loadings with columns ``varimax0``, ``varimax1``, ..., the largest sum of
        squares first, signs as in `loadings`; and ``R`` of shape ``(L, L)``, by which
        ``adata.obsm["X_vae"] @ R`` are the scores.
    """
    weight = table.to_numpy(dtype=np.float64)
    rotation = _simplest_rotation(weight)
    rotation = rotation[:, np.argsort(-((weight @ rotation) ** 2).sum(0), kind="stable")]
    rotated = weight @ rotation
    signs = _signs(torch.as_tensor(rotated)).numpy()
    columns = [f"varimax{i}" for i in range(table.shape[1])]
    return pd.DataFrame(rotated * signs, index=table.index, columns=columns), rotation * signs


def _simplest_rotation(weight: np.ndarray) -> np.ndarray:
    r"""Maximise the variance of squared loadings over rotations ``R`` of shape ``(L, L)``.

    Each step takes the rotation nearest to the gradient of the criterion (Jennrich 2001),

    .. math:: V(R) = \sum_l \Big[ \frac1G \sum_j (WR)_{jl}^4
              - \big( \frac1G \sum_j (WR)_{jl}^2 \big)^2 \Big].
    """
    rotation = np.eye(weight.shape[1])
    for _ in range(MOST_ROTATIONS):
        rotated = weight @ rotation
        gradient = weight.T @ (rotated**3 - rotated * (rotated**2).mean(0))
        left, _, right = np.linalg.svd(gradient)
        before, rotation = rotation, left @ right
        if np.abs(rotation - before).max() < 1e-9:
            break
    return rotation


@torch.no_grad()
def orient_signs(model: Model, guide: Guide) -> None:
    """Flip latents of a linear decoder so that its loadings have the signs of `loadings`.

    Model and guide are flipped together, which changes neither the likelihood nor the ELBO, so
    that loadings, latents and draws agree wherever they are shown. Pairs that cannot flip latents
    (see `Model.flips` and `Guide.flips`) are left as they are.

    Args:
        model: A trained model, changed in place.
        guide: Its guide, changed in place.
    """
    weight = model.loadings()
    if weight is not None and model.flips and guide.flips:
        signs = _signs(weight)
        model.flip(signs)
        guide.flip(signs)


def _signs(weight: Tensor) -> Tensor:
    """Return the sign of each column's largest entry in absolute value, shape ``(L,)``."""
    largest = weight.gather(0, weight.abs().argmax(0, keepdim=True)).squeeze(0)
    return torch.where(largest < 0, -1.0, 1.0).to(weight)
