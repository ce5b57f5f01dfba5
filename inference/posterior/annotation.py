"""Latents and components of observations, written where scanpy looks for them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
import torch
from anndata import AnnData
from scipy.special import entr
from torch import Tensor

from vae4counts.data import Batch, DataError
from vae4counts.guides import Guide
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.parallel.shared_noise import whole_noise
from vae4counts.inference.posterior.draws import chunks, draw
from vae4counts.inference.posterior.row_results import RowResults
from vae4counts.models import Model

WRITTEN = "vae4counts"
COLUMNS = ("component", "component_entropy")


def latents_and_components(
    model: Model,
    guide: Guide,
    batches: Iterable[Batch],
    num_samples: int,
    processes: Processes = Processes(),  # noqa: B008 (it is frozen)
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return means of q(z | x) and responsibilities of all observations.

    Args:
        model: The model.
        guide: Its guide.
        batches: The observations, in order.
        num_samples: Draws over which responsibilities are averaged.
        processes: The processes that share the work; the batches are then one's part of each.

    Returns:
        The means, shape ``(N, L)``, and p(component | counts), shape ``(N, K)``; None for what
        the model does not have.
    """
    rows = RowResults(processes)
    for batch in batches:
        sizes = chunks(num_samples, model, batch)
        with whole_noise(batch):
            draws = [draw(model, guide, batch, size) for size in sizes]
        rows.add(
            batch,
            means=_mean([part.z_mean for part in draws], sizes),
            shares=_mean([part.mean_responsibilities for part in draws], sizes),
        )
    whole = {name: values.cpu().numpy() for name, values in rows.all().items()}
    return whole.get("means"), whole.get("shares")


def _mean(parts: list[Tensor | None], sizes: list[int]) -> Tensor | None:
    """Average means over some numbers of draws; None where there are none."""
    known = [part * size for part, size in zip(parts, sizes, strict=True) if part is not None]
    return torch.stack(known).sum(0) / sum(sizes) if known else None


def annotate(adata: AnnData, means: np.ndarray | None, shares: np.ndarray | None) -> list[str]:
    """Write the latent space and the components of all observations into an AnnData.

    What an earlier annotation wrote is removed first, also where this model has no such thing.
    As in scanpy's own clusterings, components are named by their numbers, as strings, and
    components without observations are not categories.

    Args:
        adata: The observations, annotated in place: ``obsm["X_vae"]``, ``obs["component"]``,
            ``obs["component_entropy"]`` (nats), ``obsm["responsibilities"]``, of what the model
            has.
        means: Means of q(z | x), shape ``(N, L)``; None for a model without latents.
        shares: Responsibilities, shape ``(N, K)``; None for a model without components.

    Returns:
        What was written, as "slot/name".

    Raises:
        DataError: A column of the user's own would be overwritten.
    """
    if shares is not None:
        check_columns(adata)
    for key in _written_before(adata):
        slot, name = key.split("/")
        if name in getattr(adata, slot):
            del getattr(adata, slot)[name]
    written = []
    if means is not None:
        adata.obsm["X_vae"] = means
        written.append("obsm/X_vae")
    if shares is not None:
        adata.obsm["responsibilities"] = shares
        adata.obs["component"] = assigned(shares)
        adata.obs["component_entropy"] = entr(shares).sum(1)
        adata.uns.pop("component_colors", None)  # scanpy's, of earlier components
        written += ["obsm/responsibilities", "obs/component", "obs/component_entropy"]
    return written


def assigned(shares: np.ndarray) -> pd.Categorical:
    """Return each observation's most responsible component, given responsibilities ``(N, K)``."""
    names = pd.Index([str(k) for k in range(shares.shape[1])])
    return pd.Categorical.from_codes(shares.argmax(1), categories=names).remove_unused_categories()


def check_columns(adata: AnnData) -> None:
    """Make sure that the components of a mixture overwrite no column of the user's own.

    Raises:
        DataError: They would.
    """
    before = _written_before(adata)
    taken = [name for name in COLUMNS if name in adata.obs and f"obs/{name}" not in before]
    if taken:
        raise DataError(
            f"obs[{taken[0]!r}] exists already and would be overwritten: rename the column first"
        )


def _written_before(adata: AnnData) -> list[str]:
    """Return what an earlier annotation wrote, as "slot/name"."""
    return list(adata.uns.get(WRITTEN, {}).get("written", ()))
