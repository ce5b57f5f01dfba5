"""The loadings of a linear decoder."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from vae4counts.models import VAE, CountModel, LinearDecoder


def loadings(model: CountModel, features: Sequence[str]) -> pd.DataFrame | None:
    """A table of loadings, features x latents (Svensson et al. 2020).

    A row tells how a feature's log-rate changes with each latent; in a model with a library size,
    up to a constant that all features share. The latents of an N(0, I) prior may be rotated without
    changing the model: read the loadings as a subspace, not axis by axis.

    Args:
        model: Any model.
        features: Names of its features.

    Returns:
        The table, or None if the decoder is not linear, or gives no log-rates (a categorical
        likelihood).
    """
    if not isinstance(model, VAE) or not isinstance(model.decoder, LinearDecoder):
        return None
    if not model.likelihood.reads_rates:
        return None
    weight = model.decoder.output.weight[: model.n_features].detach().cpu().numpy()
    columns = [f"z{i}" for i in range(weight.shape[1])]
    return pd.DataFrame(weight, index=pd.Index(features, name="feature"), columns=columns)
