"""Slots of an AnnData that results are written to: never a user's own, and all or none of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from anndata import AnnData

from vae4counts.data import DataError

# Where an annotation is recorded, in `uns`.
RECORD = "vae4counts"
# All that an annotation may write, as "attribute/name": nothing else is ever replaced.
SLOTS = (
    "obsm/X_vae",
    "obsm/responsibilities",
    "obs/component",
    "obs/component_entropy",
    "obs/predicted_label",
    "obs/predicted_label_probability",
    "varm/loadings",
    "obsm/topics",
    "varm/topics",
    "layers/denoised",
    "obs/pareto_k",
    "obs/effective_draws",
    "uns/component_colors",
    "obsm/X_umap",
    "obsm/X_vae_umap",
)
# scanpy writes these by itself for columns of ours that it draws: they are nobody's own.
COLOURS = ("uns/component_colors", "uns/predicted_label_colors")


def check_free(adata: AnnData, slots: Collection[str]) -> None:
    """Make sure that slots, and the record of them, are empty or hold an earlier annotation.

    Raises:
        DataError: They hold something of the user's own.
    """
    ours = annotated_slots(adata)
    free = [*ours, *COLOURS]
    taken = [slot for slot in slots if _exists(adata, slot) and slot not in free]
    if RECORD in adata.uns and not _is_record(adata.uns[RECORD]):
        taken.append(f"uns/{RECORD}")
    if taken:
        names = ", ".join(f"{where}[{name!r}]" for where, name in map(_parts, taken))
        exists, it = ("exists", "it") if len(taken) == 1 else ("exist", "them")
        raise DataError(
            f"{names} {exists} already and would be overwritten: rename or remove {it} first"
        )


def annotated_slots(adata: AnnData) -> list[str]:
    """Return the slots that an earlier annotation wrote."""
    record = adata.uns.get(RECORD)
    return [slot for slot in SLOTS if slot in record["written"]] if _is_record(record) else []


def layout_slot(adata: AnnData) -> str:
    """Return the slot of the layout: scanpy's own, or another where the user has a layout there."""
    slot = "obsm/X_umap"
    is_free = not _exists(adata, slot) or slot in annotated_slots(adata)
    return slot if is_free else "obsm/X_vae_umap"


def write_slots(
    adata: AnnData,
    values: Mapping[str, Any],
    about: Mapping[str, Any],
    outdated: Collection[str] = (),
) -> None:
    """Replace an earlier annotation, if there is one, by a new one; or leave all as it was.

    Args:
        adata: Written to in place.
        values: What to write, by slot.
        about: What to record beside the slots, in ``uns["vae4counts"]``.
        outdated: What to remove besides the slots of the earlier annotation.

    Raises:
        DataError: A slot holds something of the user's own.
    """
    check_free(adata, values)
    removed = [*outdated, *(slot for slot in annotated_slots(adata) if slot not in values)]
    with _unchanged_on_error(adata):
        for where, name in map(_parts, removed):
            if name in getattr(adata, where):
                del getattr(adata, where)[name]
        for slot, value in values.items():
            where, name = _parts(slot)
            getattr(adata, where)[name] = value
        adata.uns[RECORD] = {**about, "written": list(values)}


@contextmanager
def _unchanged_on_error(adata: AnnData) -> Iterator[None]:
    before: dict[str, Any] = {"obs": adata.obs.copy(deep=False), "uns": dict(adata.uns)}
    slots = {where: getattr(adata, where, None) for where in ("obsm", "varm", "layers")}
    # several modalities have no layers of their own
    before |= {where: dict(held) for where, held in slots.items() if held is not None}
    try:
        yield
    except BaseException:
        if not adata.is_view:  # a view that is one still has not been written to
            for where, content in before.items():
                setattr(adata, where, content)
        raise


def _exists(adata: AnnData, slot: str) -> bool:
    where, name = _parts(slot)
    return name in getattr(adata, where)


def _is_record(value: Any) -> bool:
    return isinstance(value, Mapping) and "model" in value and "written" in value


def _parts(slot: str) -> tuple[str, str]:
    where, _, name = slot.partition("/")
    return where, name
