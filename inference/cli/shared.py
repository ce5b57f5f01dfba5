"""What all commands share: the application, its screens, errors in one line, tables of figures."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from anndata import AnnData
from rich.console import Console
from rich.table import Table

from vae4counts.data import DataError, UnknownName, load
from vae4counts.guides import IncompatiblePairError
from vae4counts.inference.fitting.nonfinite import TrainingError
from vae4counts.inference.fitting.options import SettingsError
from vae4counts.inference.fitting.signals import FitInterrupted
from vae4counts.inference.parallel.processes import ProcessError, Processes
from vae4counts.inference.run import storage
from vae4counts.inference.run.metric_names import METRICS
from vae4counts.inference.run.run import Run

app = typer.Typer(
    help="Variational autoencoders for sparse counts: fit one, and understand your data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
screen = Console()
# of several processes, one speaks for all
silent = not Processes.here().is_first
asides = Console(stderr=True, soft_wrap=True, highlight=False, markup=False, quiet=silent)

BAD_INPUT = 2
BAD_INPUT_ERRORS = (
    DataError,
    IncompatiblePairError,
    OSError,
    SettingsError,
    UnknownName,
    storage.RunDirectoryError,
)


def known(names: Iterable[str]) -> str:
    """Names to choose from, for a help text."""
    return f"One of: {', '.join(names)}."


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Bad input ends in one line on standard error and status 2; so do its warnings in a line."""
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: asides.print(f"vae4counts: warning: {message}")
        try:
            yield
        except FitInterrupted as stop:
            asides.print(f"vae4counts: {stop}; go on with the same command and --resume")
            raise SystemExit(128 + stop.number) from None
        except (TrainingError, ProcessError) as error:
            asides.print(f"vae4counts: error: {error}")
            raise SystemExit(1) from None
        except BAD_INPUT_ERRORS as error:
            asides.print(f"vae4counts: error: {error}")
            raise SystemExit(BAD_INPUT) from None


def source_of(run: Run, directory: Path, data: str | None) -> str:
    """Where the data to look at are from: what is named, or what the run was fitted to.

    Raises:
        RunDirectoryError: Nothing is named, and the fitted data are not known.
    """
    source = data if data is not None else run.settings.get("data")
    if source is None:
        raise storage.RunDirectoryError(f"{directory} does not say what it was fitted to: --data")
    return str(source)


def data_of(
    run: Run,
    directory: Path,
    data: str | None,
    *,
    out_of_core: bool = False,
    offline: bool = False,
) -> tuple[str, AnnData, bool]:
    """The data to look at through a run: those that are named, or those that it was fitted to.

    Returns:
        Where they are from, the data, and whether they are those that the run was fitted to.

    Raises:
        RunDirectoryError: None are named, and the fitted data are not known, or have changed.
    """
    source = source_of(run, directory, data)
    stays = run.settings.get("out_of_core", False) if data is None else out_of_core
    adata = load(source, out_of_core=stays, offline=offline or None)
    known = run.knows(adata)
    if data is None and not known:
        raise storage.RunDirectoryError(
            f"{source} has changed since {directory} was fitted to it, and with it what was "
            "held out. Name the data with --data to use all of them"
        )
    return source, adata, known


def command_line(context: typer.Context, without: Collection[str] = ()) -> str:
    """The command that is running, with those of its options that are not at their default.

    Args:
        context: The command's.
        without: Names of parameters that the results do not hang on.
    """
    words = ["vae4counts", str(context.info_name)]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if parameter.param_type_name == "argument":
            words.append(str(value))
        elif value != parameter.default and parameter.name not in without:
            words += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    return shlex.join(words)


def show(metrics: dict[str, Any], title: str) -> None:
    """Prints the figures that matter."""
    held_out = "held-out observations" if "n_test" in metrics else "observations"
    table = Table(title=title, show_header=False)
    for key, what in {"n": held_out, **METRICS}.items():
        value = metrics.get(key)
        if value is not None:
            table.add_row(what, f"{value:,}" if isinstance(value, int) else f"{value:,.3f}")
    screen.print(table)
