"""Write what a run says of data into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vae4counts.data import DataError, MultiData
from vae4counts.inference.plots.layout import UMAP_AXES
from vae4counts.inference.posterior.annotation import (
    annotate,
    assigned,
    check_in_memory,
    columns_of,
    predictions,
    slots_of,
)
from vae4counts.inference.posterior.importance import MIN_DRAWS
from vae4counts.inference.posterior.slots import check_free, layout_slot
from vae4counts.inference.run.colours import colours_for_scanpy

if TYPE_CHECKING:
    from vae4counts.inference.run.on_data import RunOnData
    from vae4counts.models import Model
    from vae4counts.models.covariates import At

OF_ONE_TABLE = ("varm/", "layers/")


def annotate_data(
    on: RunOnData,
    denoised: bool = False,
    num_samples: int = 10,
    *,
    refine: bool = False,
    layout: bool = False,
    at: At | None = None,
) -> None:
    """Write what a run says about each observation into its data, where scanpy looks for it.

    ``obsm["X_vae"]``: means of q(z | x). ``obs["component"]``, ``obs["component_entropy"]`` (nats)
    and ``obsm["responsibilities"]``: the mixture's view. ``varm["loadings"]``: a linear decoder's.
    ``obsm["topics"]`` and ``varm["topics"]``: shares of topics, and their features.
    ``obs["predicted_label"]`` and its ``..._probability``: a model's with labels, by the counts
    alone. ``layers["denoised"]``: posterior mean rates, to a total of 10,000 (NaN for features that
    the model lacks). ``obsm["X_umap"]``: the layout of all pictures of the run, in
    ``obsm["X_vae_umap"]`` where the data have an ``X_umap`` of their own.
    ``uns["component_colors"]``, and those of the label's column if it has none: the colours of all
    pictures. ``uns["vae4counts"]``: how the run was made, and which of these it wrote. An earlier
    annotation is replaced; anything else of these names is an error. After an error the data are
    as they were.

    Of several modalities, this goes to where they are from: an AnnData, or the tables of all
    observations of a MuData. ``varm`` and ``layers``, which belong to one modality, are left out
    (`FittedPair.loadings` has the loadings).

    Args:
        on: The run on data.
        denoised: Whether to write the layer, a dense one of observations x features.
        num_samples: Draws of z over which responsibilities and rates are averaged.
        refine: Whether to refine the posteriors first, see `RunOnData.refined`. Then
            ``obs["pareto_k"]`` and ``obs["effective_draws"]`` say how far they can be trusted.
        layout: Whether to write the layout, which takes UMAP some seconds.
        at: Values at which the layer and topics hold covariates, ``{"batch": "A"}``, see
            `Interpretation.holding`; by default it averages over them.

    Raises:
        DataError: The data have something of these names that no earlier call wrote; or they are a
            view of a file, into which nothing can be written; or a layer is asked for of several
            modalities; or the model has no such covariate or level.
    """
    run, data = on.run, on.adata
    check_place(data, run.model, on.layer, denoised=denoised, refine=refine)
    means, shares = on.summary(num_samples, refine=refine)
    further: dict[str, Any] = {}
    if run.model.labels is not None and shares is not None:
        further |= predictions(shares, run.model.labels.names(shares.shape[1]))
    if refine:
        quality = on.posterior_quality(num_samples=MIN_DRAWS, refine=True)
        further |= {f"obs/{name}": column.to_numpy() for name, column in quality.items()}
    if not isinstance(data, MultiData):
        names, view = data.var_names.astype(str), on.interpret(refine=refine).holding(at)
        further |= view.parts(names, num_samples=num_samples)
        if denoised:
            layer = view.denoised(num_samples=num_samples)
            further["layers/denoised"] = columns_of(layer, names)
    target = data.source if isinstance(data, MultiData) else data
    further |= colours_for_scanpy(on, None if shares is None else assigned(shares))
    if layout and on.layout is not None and on.layout[1] == UMAP_AXES:
        further[layout_slot(target)] = on.layout[0]
    annotate(target, means, shares, run.about, further)


def check_place(
    data: Any, model: Model, layer: str | None, *, denoised: bool = False, refine: bool = False
) -> None:
    """Make sure that an annotation can be written.

    Args:
        data: An AnnData or several modalities.
        model: The model that annotates them.
        layer: The layer of an AnnData that holds the counts.
        denoised: Whether the annotation has denoised rates.
        refine: Whether it rests on refined posteriors.

    Raises:
        DataError: See `annotate_data`.
    """
    slots = slots_of(model, denoised=denoised, refined=refine)
    if not isinstance(data, MultiData):
        check_free(data, slots)
        check_in_memory(data, layer)
        return
    if denoised:
        raise DataError("denoised rates are written for the counts of one AnnData only")
    check_free(data.source, [slot for slot in slots if not slot.startswith(OF_ONE_TABLE)])
