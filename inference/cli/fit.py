"""``vae4counts fit``."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vae4counts.data.readers.registry import accepted_formats
from vae4counts.inference.cli.application import app, asides, screen
from vae4counts.inference.cli.checkpoint_options import CheckpointOptions
from vae4counts.inference.cli.command_line import command_line
from vae4counts.inference.cli.completion import data_sets
from vae4counts.inference.cli.covariate_options import CovariateOptions
from vae4counts.inference.cli.data_options import DataOptions
from vae4counts.inference.cli.errors import one_line_errors
from vae4counts.inference.cli.logger_options import LoggerOptions
from vae4counts.inference.cli.metrics_table import show_metrics
from vae4counts.inference.cli.modality_options import ModalityOptions
from vae4counts.inference.cli.options import Panel, with_options
from vae4counts.inference.cli.pair_options import PairOptions
from vae4counts.inference.cli.places import as_place
from vae4counts.inference.cli.results import check_annotation, complete
from vae4counts.inference.fitting.options import BasicOptions, Compute, Schedule, SplitOptions

if TYPE_CHECKING:
    from anndata import AnnData

    from vae4counts.data import MultiData
    from vae4counts.inference.run.fitted_pair import FittedPair
    from vae4counts.inference.run.on_data import RunOnData
    from vae4counts.inference.run.run import Run
    from vae4counts.models.likelihoods import Likelihood


@app.command("fit")
@with_options
def fit_command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="The name of a data set (see 'vae4counts datasets') or the path of "
            f"{accepted_formats()}. Observations are rows, counts are raw.",
            autocompletion=data_sets,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory to make for the results.")],
    table: Annotated[DataOptions, Panel("Data", flags={"transpose": "--transpose/--no-transpose"})],
    modalities: Annotated[ModalityOptions, Panel("Modalities")],
    pair: Annotated[PairOptions, Panel("Model")],
    covariates: Annotated[CovariateOptions, Panel("Covariates")],
    split: Annotated[SplitOptions, Panel("Split", flags={"column": "--split"})],
    basic: Annotated[BasicOptions, Panel("Training", moved={"device": "Compute"})],
    schedule: Annotated[Schedule, Panel("Training")],
    compute: Annotated[Compute, Panel("Compute")],
    saving: Annotated[CheckpointOptions, Panel("Checkpoints")],
    logs: Annotated[LoggerOptions, Panel("Logger")],
) -> None:
    """Fit a model to counts; leave model, metrics, annotated data and figures in a directory.

    The state is saved in OUT.partial every few minutes, when training ends, and when the command
    is stopped by SIGTERM, SIGHUP or Ctrl-C.
    """
    out = as_place(out)
    with one_line_errors(), _resumable_later():
        from vae4counts.data import modalities_of
        from vae4counts.inference import fit, keep_freed_memory, settled_objects
        from vae4counts.inference.parallel.processes import Processes
        from vae4counts.inference.parallel.threads import kept_threads
        from vae4counts.inference.run import storage

        is_first = Processes.here().is_first  # of several processes, one writes and speaks for all
        asides.quiet = not is_first
        command = command_line(context)
        with _checkpoints(out, resume=saving.resume, writes=is_first) as checkpoints:
            tables = modalities.chosen
            adata = table.load(data, tables)
            if saving.resume and storage.has_ended(out):
                on = _ended(out, command, adata)
                if is_first:  # the process was killed between the two steps of `publish`
                    storage.discard_checkpoints(out)
            else:
                places = modalities.places(adata, table.layer) if tables else None
                found = adata if places is None else modalities_of(adata, [*tables], places)
                layer = table.layer if places is None else None
                kinds = pair.likelihoods(tables)
                chosen = table.choose_features(found, _of_counts(kinds) if tables else None)
                known = covariates.make(chosen), pair.labels(chosen, table.ignored_labels)
                if tables:
                    model, guide = pair.make_several(_sizes(chosen), kinds, *known)
                else:
                    model, guide = pair.make(chosen.n_vars, *known)
                check_annotation(found, model, layer)
                keep_freed_memory()
                with settled_objects(), kept_threads(compute.threads):
                    run = fit(
                        model,
                        guide,
                        chosen,
                        epochs=basic.epochs,
                        batch_size=basic.batch_size,
                        learning_rate=basic.learning_rate,
                        seed=basic.seed,
                        label=table.label,
                        layer=layer,
                        device=basic.device,
                        progress=is_first,
                        logger=logs.make(out),
                        split=split,
                        schedule=schedule,
                        checkpoints=saving.in_directory(checkpoints),
                        compute=compute,
                    )
                run.modalities = places
                run.settings |= table.settings_with(data, tables) | {"command": command}
                if is_first:
                    _publish(run, out)
                on = run.on(adata)
        with kept_threads(compute.threads):
            complete(on, out, writes=is_first)
    if is_first:
        show_metrics(on.run.metrics, title=f"{type(on.run.model).__name__} on {data}")
        if "epoch_kept" in on.run.metrics:  # which a resumed run of an older version lacks
            screen.print(how_training_ended(on.run))
        screen.print(f"Results are in {out}", soft_wrap=True)


def _of_counts(likelihoods: Mapping[str, type[Likelihood]]) -> list[str]:
    """Return the modalities of counts."""
    return [name for name, kind in likelihoods.items() if kind.support.counts]


def _sizes(data: MultiData) -> dict[str, int]:
    return {name: each.n_vars for name, each in data.mod.items()}


def how_training_ended(run: FittedPair) -> str:
    """Say when training ended and why, and which epoch's parameters are kept."""
    from vae4counts.inference.run.fitted_pair import is_trainable

    if not is_trainable(run.model, run.guide):
        return "The model was learnt in one pass over the training observations."
    epochs, kept = len(run.history), run.metrics["epoch_kept"]
    patience = run.settings["schedule"]["patience"]
    plain = int((run.history.phase == "plain").sum())
    words = [f"Training took all of its {epochs} epochs."]
    if run.metrics["stopped_early"]:
        words = [
            f"Training stopped after {epochs} epochs: the validation ELBO had not grown for "
            f"{patience}."
        ]
    words.append(f"The parameters are those of epoch {kept}.")
    if kept == epochs:
        words.append("The validation ELBO was still growing: more epochs may help.")
    if plain:
        words.append(f"The components started after epoch {plain}.")
    return " ".join(words)


@contextmanager
def _resumable_later() -> Iterator[None]:
    """Say how to continue after Ctrl-C, which `fit` obeys by itself while it trains."""
    from vae4counts.inference import FitInterrupted

    try:
        yield
    except FitInterrupted:
        raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            "stopped; to continue, run the same command with --resume"
        ) from None


@contextmanager
def _checkpoints(out: Path, *, resume: bool, writes: bool) -> Iterator[Path]:
    """Give the directory for checkpoints; the process that writes makes and locks it."""
    from vae4counts.inference.run import storage

    if writes:
        with storage.resumable(out, resume=resume) as checkpoints:
            yield checkpoints
    else:
        yield storage.checkpoints_of(out)


def _ended(out: Path, command: str, adata: AnnData) -> RunOnData:
    """Read the run of the same command and data whose training has ended."""
    from vae4counts.inference import Run, RunDirectoryError

    run = Run.load(out)
    if (other := run.settings.get("command")) != command:
        raise RunDirectoryError(f"{out} holds the results of another command: {other}")
    on = run.on(adata)
    if not on.is_fitted:
        raise RunDirectoryError(f"the data have changed since {out} was fitted to them")
    return on


def _publish(run: Run, out: Path) -> None:
    """Write the run's files.

    Raises:
        OSError: There is no room for them. The checkpoints stay, and the results are in a
            temporary directory, which the message names.
    """
    from vae4counts.inference.fitting.checkpoints import found
    from vae4counts.inference.run import storage

    try:
        storage.publish(run.write, out)
    except (OSError, storage.RunDirectoryError) as error:
        said = f"the results cannot be written to {out} ({error})"
        if found(storage.checkpoints_of(out)):
            said += "; when they can, run the same command with --resume"
        try:
            elsewhere = Path(tempfile.mkdtemp(prefix="vae4counts-")) / out.name
            run.save(elsewhere)
        except OSError as other:
            raise OSError(f"{said}; nor can they elsewhere ({other})") from error
        raise OSError(f"{said}; until then they are in {elsewhere}") from error
