"""What follows training: evaluation, annotated data and figures, each of which may fail alone."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from vae4counts.inference.cli.errors import made_later, say_warning
from vae4counts.inference.cli.h5ad import write_h5ad, write_h5mu
from vae4counts.inference.cli.writable import entry_name, unwritable_entries, without_entries

if TYPE_CHECKING:
    from anndata import AnnData

    from vae4counts.data import MultiData
    from vae4counts.inference.run.fitted_pair import FittedPair
    from vae4counts.inference.run.on_data import RunOnData
    from vae4counts.models import Model

ANNOTATED = "annotated.h5ad"
ANNOTATED_MODALITIES = "annotated.h5mu"
# Of the entries that cannot be written so many are named.
MOST_NAMES = 8
# Held-out observations times features: where there are more, refinement takes minutes, and is left
# to those who ask for it.
MOST_REFINED = 20_000_000


def complete(on: RunOnData, directory: Path, *, writes: bool) -> None:
    """Make what a run's directory lacks, with a line of warning for everything that fails.

    Args:
        on: The run on the data that it was fitted to.
        directory: The run's directory.
        writes: Whether this process writes the files. Of several that share the work one does.
    """
    place = shlex.quote(str(directory))
    few = len(on.held_out) * len(on.run.features) <= MOST_REFINED
    refine = few and bool(on.run.guide.sites)  # without these there is nothing to refine
    if not is_evaluated(on.run, refine=refine):
        with made_later("the evaluation", f"vae4counts evaluate {place} --refine"):
            for refined in (False, True)[: 1 + refine]:
                on.evaluate(refine=refined)
                if writes:
                    save_metrics(on.run, directory)
    annotated = directory / annotated_name(on.adata)
    if not annotated.exists():
        with made_later(annotated.name, f"vae4counts annotate {place}"):
            annotate(on, annotated, writes=writes)
    if writes:
        with made_later("the figures", f"vae4counts figures {place}"):
            draw_figures(on, directory)


def is_evaluated(run: FittedPair, *, refine: bool) -> bool:
    """Whether the metrics of a run's own held-out observations are known."""
    return "elbo" in run.metrics and (not refine or "refined_elbo" in run.metrics)


def save_metrics(run: FittedPair, directory: Path) -> None:
    """Replace the metrics in a run's directory by those that the run has now."""
    from vae4counts.inference.run import storage

    with storage.replace_file(directory / storage.METRICS) as path:
        storage.write_json(path, run.metrics)


def annotated_name(data: AnnData | MultiData) -> str:
    """Return the name of the file of annotated data: that of their format."""
    from vae4counts.data import MultiData

    return ANNOTATED_MODALITIES if isinstance(target_of(data), MultiData) else ANNOTATED


def target_of(data: AnnData | MultiData) -> AnnData | MultiData:
    """Return what results are written into: an AnnData, or the modalities of a file."""
    from vae4counts.data import MultiData

    return data.source if isinstance(data, MultiData) else data


def annotate(on: RunOnData, path: Path, *, writes: bool = True, refine: bool = False) -> None:
    """Annotate data and write them to a file, without the entries that it cannot hold.

    Counts that stay in a file of their own are left there. Several modalities go to an .h5mu file,
    all else to an .h5ad file.
    """
    from vae4counts.data import MultiData
    from vae4counts.inference.run import storage

    on.annotate(refine=refine, layout=True)
    if writes:
        target = target_of(on.adata)
        with storage.replace_file(path) as staged:
            if isinstance(target, MultiData):
                write_h5mu(_writable_modalities(target), staged)
            else:
                write_h5ad(_writable(target, on.layer), staged)


def _writable(adata: AnnData, layer: str | None) -> AnnData:
    from vae4counts.data import is_on_disk

    in_memory = not is_on_disk(adata, layer)
    entries = unwritable_entries(adata, counts=in_memory)
    return without_entries(adata, entries, counts=in_memory)


def _writable_modalities(data: MultiData) -> MultiData:
    from vae4counts.data import MultiData

    mod = {name: _writable(adata, data.layer_of[name]) for name, adata in data.mod.items()}
    whole = _writable(_whole(data), None)
    return MultiData(mod, whole.obs, obsm=whole.obsm, uns=whole.uns)


def _whole(data: MultiData) -> AnnData:
    """The tables of all observations of several modalities."""
    from anndata import AnnData

    return AnnData(obs=data.obs, obsm=data.obsm, uns=data.uns)


def draw_figures(on: RunOnData, directory: Path, *, again: bool = False) -> bool:
    """Draw the figures that a run has, with a line of warning for each that fails.

    Args:
        on: The run on data.
        directory: Where the PNG files go.
        again: Whether to draw figures that exist already.

    Returns:
        Whether all that apply are there.
    """
    from vae4counts.inference.report.figures import FIGURES, write_figure
    from vae4counts.inference.report.subject import Subject

    subject, failed = Subject(on), []
    for name in FIGURES:
        path = directory / f"{name}.png"
        if again or not path.exists():
            failed.append(name)
            with made_later(path.name, f"vae4counts figures {shlex.quote(str(directory))}"):
                write_figure(name, subject, path)
                failed.remove(name)
    return not failed


def check_annotation(
    data: AnnData | MultiData, model: Model, layer: str | None, *, refine: bool = False
) -> None:
    """Find out before training what would keep the annotated data from being written.

    Entries that a file cannot hold are left out of it, which a line of warning says.

    Args:
        data: The data to annotate, an AnnData or several modalities.
        model: The model that will annotate them.
        layer: The layer that holds the counts; None for ``X``.
        refine: Whether it will rest on refined posteriors.

    Raises:
        DataError: The annotation would overwrite something of the user's own.
        UnknownName: There is no such layer.
    """
    from vae4counts.data import MultiData, is_on_disk
    from vae4counts.inference.run.annotating import check_place

    check_place(data, model, layer, refine=refine)
    target = target_of(data)
    parts = {"": (target, layer)}
    if isinstance(target, MultiData):
        parts = {f"{name}: ": (each, target.layer_of[name]) for name, each in target.mod.items()}
        parts[""] = (_whole(target), None)
    names = [
        f"{part}{entry_name(entry)}"
        for part, (adata, own) in parts.items()
        for entry in unwritable_entries(adata, counts=not is_on_disk(adata, own))
    ]
    if names:
        shown = names[:MOST_NAMES] + [f"{len(names) - MOST_NAMES} more"][: len(names) > MOST_NAMES]
        file = annotated_name(data)
        suffix = file.rpartition(".")[2]
        say_warning(f"an .{suffix} file cannot hold {', '.join(shown)}: {file} goes without")
