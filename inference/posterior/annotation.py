"""Latents and components of observations, written where scanpy looks for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

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

Summary = tuple[np.ndarray | None, np.ndarray | None]
"""Means of q(z | x), shape ``(N, L)``, and responsibilities, ``(N, K)``; None for what is not."""


def latents_and_components(
    model: Model,
    guide: Guide,
    batches: Iterable[Batch],
    num_samples: int,
    processes: Processes = Processes(),  # noqa: B008 (it is frozen)
) -> Summary:
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
        "obs/predicted_label": model.labels is not None,
        "obs/predicted_label_probability": model.labels is not None,
        "varm/loadings": model.loadings() is not None,
        "obsm/topics": model.pure_topics() is not None,
        "varm/topics": model.pure_topics() is not None,
        "layers/denoised": denoised,
        "obs/pareto_k": refined,
        "obs/effective_draws": refined,
        "uns/component_colors": "component" in latents,
        "obsm/X_umap": False,  # it goes elsewhere where it is not free
        "obsm/X_vae_umap": False,
    }
    return [slot for slot in SLOTS if written[slot]]


def annotate(
    adata: AnnData,
    means: np.ndarray | None,
    shares: np.ndarray | None,
    about: Mapping[str, str],
    further: Mapping[str, Any] | None = None,
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
    write_slots(adata, values, about, outdated=_outdated_colours(adata, values))


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


def _outdated_colours(adata: AnnData, values: Mapping[str, Any]) -> list[str]:
    """The slots of scanpy's colours that are for other classes of an earlier annotation."""
    outdated = []
    for name in ("component", "predicted_label"):
        slot = f"obs/{name}"
        if slot in annotated_slots(adata) and name in adata.obs:
            before = set(adata.obs[name].astype(str))
            if before != set(values[slot].categories if slot in values else ()):
                outdated.append(f"uns/{name}_colors")
    return outdated


def assigned(shares: np.ndarray, names: Sequence[str] | None = None) -> pd.Categorical:
    """Return each observation's most responsible component.

    Args:
        shares: Responsibilities, shape ``(N, K)``.
        names: Names of the components; their numbers if None.
    """
    numbers = [str(k) for k in range(shares.shape[1])]
    categories = pd.Index(numbers if names is None else list(names))
    found = pd.Categorical.from_codes(shares.argmax(1), categories=categories)
    return found.remove_unused_categories()


def predictions(shares: np.ndarray, names: Sequence[str]) -> dict[str, Any]:
    """Return the predicted label of each observation and its probability, by slot.

    Args:
        shares: Responsibilities, shape ``(N, K)``.
        names: The classes that the components are, see `Labels.names`.
    """
    return {
        "obs/predicted_label": assigned(shares, names),
        "obs/predicted_label_probability": shares.max(1),
    }
