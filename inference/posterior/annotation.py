"""Latents and components of observations, written where scanpy looks for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.special import entr

from vae4counts.data import Batch, DataError, is_on_disk
from vae4counts.guides import Guide
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.parallel.shared_noise import whole_noise
from vae4counts.inference.posterior.draws import draw_latents
from vae4counts.inference.posterior.row_results import RowResults
from vae4counts.inference.posterior.slots import SLOTS, annotated_slots, write_slots
from vae4counts.models import Model


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
        with whole_noise(batch):
            draws = draw_latents(model, guide, batch, num_samples)
        rows.add(batch, means=draws.z_mean, shares=draws.mean_responsibilities)
    whole = {name: values.cpu().numpy() for name, values in rows.all().items()}
    return whole.get("means"), whole.get("shares")


def slots_of(model: Model, *, denoised: bool = False, refined: bool = False) -> list[str]:
    """Return the slots of an AnnData that an annotation by a model writes, before it is made.

    Args:
        model: The model, trained or not.
        denoised: Whether the annotation has denoised rates.
        refined: Whether it rests on refined posteriors.
    """
    latents = {latent.name for latent in model.latents}
    written = {
        "obsm/X_vae": "z" in latents,
        "obsm/responsibilities": "component" in latents,
        "obs/component": "component" in latents,
        "obs/component_entropy": "component" in latents,
        "varm/loadings": model.loadings() is not None,
        "layers/denoised": denoised,
        "obs/pareto_k": refined,
        "obs/effective_draws": refined,
    }
    return [slot for slot in SLOTS if written[slot]]


def annotate(
    adata: AnnData,
    means: np.ndarray | None,
    shares: np.ndarray | None,
    about: Mapping[str, str],
    further: Mapping[str, np.ndarray | None] | None = None,
) -> None:
    """Write what a model says of all observations into an AnnData.

    An earlier annotation is replaced, also where this model has no such thing. As in scanpy's own
    clusterings, components are named by their numbers, as strings, and components without
    observations are not categories.

    Args:
        adata: The observations, annotated in place: ``obsm["X_vae"]``, ``obs["component"]``,
            ``obs["component_entropy"]`` (nats), ``obsm["responsibilities"]``, of what the model
            has; and ``uns["vae4counts"]``. If anything fails they are left as they were.
        means: Means of q(z | x), shape ``(N, L)``; None for a model without latents.
        shares: Responsibilities, shape ``(N, K)``; None for a model without components.
        about: How the model was made.
        further: More to write, by slot; None for what the model does not have.

    Raises:
        DataError: Something of the user's own would be overwritten.
    """
    components = None if shares is None else assigned(shares)
    found = {
        "obsm/X_vae": means,
        "obsm/responsibilities": shares,
        "obs/component": components,
        "obs/component_entropy": None if shares is None else entr(shares).sum(1),
        **(further or {}),
    }
    values = {slot: value for slot, value in found.items() if value is not None}
    write_slots(adata, values, about, outdated=_outdated_colours(adata, components))


def check_in_memory(adata: AnnData, layer: str | None) -> None:
    """Make sure that data can be written to.

    Raises:
        DataError: They are a view of a file.
    """
    if adata.is_view and is_on_disk(adata, layer):
        raise DataError(
            "this is a view of data on disk, into which nothing can be written: annotate all "
            "of the data (features that the model does not know are ignored)"
        )


def columns_of(table: pd.DataFrame, names: pd.Index) -> np.ndarray:
    """Return a table's columns by name, NaN for those that it lacks; a copy only if they differ."""
    return (table if table.columns.equals(names) else table.reindex(columns=names)).to_numpy()


def _outdated_colours(adata: AnnData, components: pd.Categorical | None) -> list[str]:
    """The slot of scanpy's colours, if they are for other components of an earlier annotation."""
    if "obs/component" not in annotated_slots(adata) or "component" not in adata.obs:
        return []
    before = set(adata.obs["component"].astype(str))
    now = set() if components is None else set(components.categories)
    return [] if before == now else ["uns/component_colors"]


def assigned(shares: np.ndarray) -> pd.Categorical:
    """Return each observation's most responsible component, given responsibilities ``(N, K)``."""
    names = pd.Index([str(k) for k in range(shares.shape[1])])
    return pd.Categorical.from_codes(shares.argmax(1), categories=names).remove_unused_categories()
