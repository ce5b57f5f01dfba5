"""Write what a run says of data into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vae4counts.data import DataError, MultiData
from vae4counts.inference.posterior.annotation import (
    annotate,
    check_in_memory,
    columns_of,
    predictions,
    slots_of,
)
from vae4counts.inference.posterior.importance import MIN_DRAWS
from vae4counts.inference.posterior.slots import check_free

if TYPE_CHECKING:
    from vae4counts.inference.run.on_data import RunOnData
    from vae4counts.models import Model

OF_ONE_TABLE = ("varm/", "layers/")


def annotate_data(on: RunOnData, denoised: bool, num_samples: int, *, refine: bool) -> None:
    """Write what a run says of each observation into its data: see `RunOnData.annotate`."""
    run, data = on.run, on.adata
    check_place(data, run.model, on.layer, denoised=denoised, refine=refine)
    means, shares = on.summary(num_samples, refine=refine)
    further: dict[str, Any] = {}
    if run.model.labels is not None and shares is not None:
        further |= predictions(shares, run.model.labels.names(shares.shape[1]))
    if refine:
        quality = on.posterior_quality(num_samples=MIN_DRAWS, refine=True)
        further |= {f"obs/{name}": column.to_numpy() for name, column in quality.items()}
    if isinstance(data, MultiData):
        annotate(data.source, means, shares, run.about, further)
        return
    names, view = data.var_names.astype(str), on.interpret(refine=refine)
    further |= view.parts(names, num_samples=num_samples)
    if denoised:  # the largest comes last
        layer = view.denoised(num_samples=num_samples)
        further["layers/denoised"] = columns_of(layer, names)
    annotate(data, means, shares, run.about, further)


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
        DataError: See `RunOnData.annotate`.
    """
    slots = slots_of(model, denoised=denoised, refined=refine)
    if not isinstance(data, MultiData):
        check_free(data, slots)
        check_in_memory(data, layer)
        return
    if denoised:
        raise DataError("denoised rates are written for the counts of one AnnData only")
    check_free(data.source, [slot for slot in slots if not slot.startswith(OF_ONE_TABLE)])
