"""Results of a pair, written where scanpy looks for them."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd
import torch
from anndata import AnnData
from scipy.stats import entropy
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference.posterior.draws import chunks, draw
from vae4counts.models import CountModel


def annotate(
    adata: AnnData, model: CountModel, guide: Guide, batches: Iterable[Batch], num_samples: int
) -> None:
    """Writes the latent space and the components of all observations into an AnnData.

    Args:
        adata: The observations, annotated in place: ``obsm["X_vae"]``, ``obs["component"]``,
            ``obs["component_entropy"]`` (nats), ``obsm["responsibilities"]``, as far as the
            model has them.
        model: The model.
        guide: Its guide.
        batches: The same observations, in order.
        num_samples: Draws over which responsibilities are averaged.
    """
    means: list[Tensor] = []
    shares: list[Tensor] = []
    for batch in batches:
        sizes = chunks(num_samples, model, batch)
        draws = [draw(model, guide, batch, size) for size in sizes]
        for results, parts in (
            (means, [part.z_mean for part in draws]),
            (shares, [part.mean_responsibilities for part in draws]),
        ):
            known = [
                part * size for part, size in zip(parts, sizes, strict=True) if part is not None
            ]
            if known:
                results.append(torch.stack(known).sum(0).cpu() / num_samples)
    if means:
        adata.obsm["X_vae"] = torch.cat(means).numpy()
    if shares:
        responsibilities = torch.cat(shares).numpy()
        adata.obsm["responsibilities"] = responsibilities
        names = pd.Index([str(k) for k in range(responsibilities.shape[1])])
        adata.obs["component"] = pd.Categorical.from_codes(
            responsibilities.argmax(1), categories=names
        )
        adata.obs["component_entropy"] = entropy(responsibilities, axis=1)
