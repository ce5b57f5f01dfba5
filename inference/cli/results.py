"""What follows training: evaluation, annotated data and figures, each of which may fail alone."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from vae4counts.inference.cli.errors import made_later, say_warning
from vae4counts.inference.cli.h5ad import write_h5ad
from vae4counts.inference.cli.writable import entry_name, unwritable_entries, without_entries

if TYPE_CHECKING:
    from anndata import AnnData

    from vae4counts.inference.run.fitted_pair import FittedPair
    from vae4counts.inference.run.on_data import RunOnData
    from vae4counts.models import Model

ANNOTATED = "annotated.h5ad"
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
    if not (directory / ANNOTATED).exists():
        with made_later(ANNOTATED, f"vae4counts annotate {place}"):
            annotate(on, directory / ANNOTATED, writes=writes)
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


def annotate(on: RunOnData, path: Path, *, writes: bool = True, refine: bool = False) -> None:
    """Annotate data and write them to an .h5ad file, without the entries that it cannot hold.

    Counts that stay in a file of their own are left there.
    """
    from vae4counts.data import is_on_disk
    from vae4counts.inference.run import storage

    on.annotate(refine=refine)
    if writes:
        in_memory = not is_on_disk(on.adata, on.layer)
        entries = unwritable_entries(on.adata, counts=in_memory)
        kept = without_entries(on.adata, entries, counts=in_memory)
        with storage.replace_file(path) as staged:
            write_h5ad(kept, staged)


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
    adata: AnnData, model: Model, layer: str | None, *, refine: bool = False
) -> None:
    """Find out before training what would keep the annotated data from being written.

    Entries that an .h5ad file cannot hold are left out of it, which a line of warning says.

    Args:
        adata: The data to annotate.
        model: The model that will annotate them.
        layer: The layer that holds the counts; None for ``X``.
        refine: Whether it will rest on refined posteriors.

    Raises:
        DataError: The annotation would overwrite something of the user's own.
        UnknownName: There is no such layer.
    """
    from vae4counts.data import is_on_disk
    from vae4counts.inference.posterior.annotation import slots_of
    from vae4counts.inference.posterior.slots import check_free

    check_free(adata, slots_of(model, refined=refine))
    entries = unwritable_entries(adata, counts=not is_on_disk(adata, layer))
    if entries:
        names = [entry_name(entry) for entry in entries[:MOST_NAMES]]
        if more := len(entries) - len(names):
            names.append(f"{more} more")
        say_warning(f"an .h5ad file cannot hold {', '.join(names)}: {ANNOTATED} goes without")
