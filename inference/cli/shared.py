"""What all commands share: the application, its screens, errors in one line, tables of figures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from vae4counts.data import DataError, UnknownName
from vae4counts.guides import IncompatiblePairError
from vae4counts.inference import storage
from vae4counts.inference.fit import SettingsError
from vae4counts.inference.training.loop import TrainingError

app = typer.Typer(
    help="Variational autoencoders for sparse counts: fit one, and understand your data.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
screen = Console()
asides = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

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
        except TrainingError as error:
            asides.print(f"vae4counts: error: {error}")
            raise SystemExit(1) from None
        except BAD_INPUT_ERRORS as error:
            asides.print(f"vae4counts: error: {error}")
            raise SystemExit(BAD_INPUT) from None


def show(metrics: dict[str, Any], title: str) -> None:
    """Prints the figures that matter."""
    rows = {
        "held-out observations" if "n_test" in metrics else "observations": "n",
        "ELBO (nats each)": "elbo",
        "importance-weighted log-likelihood (nats each)": "iw_log_likelihood",
        "components used": "components_used",
        "component perplexity": "component_perplexity",
        "ARI against the labels": "ari",
        "NMI against the labels": "nmi",
        "epochs": "epochs",
        "seconds": "seconds",
        "observations a second": "observations_per_second",
    }
    table = Table(title=title, show_header=False)
    for what, key in rows.items():
        value = metrics.get(key)
        if value is not None:
            table.add_row(what, f"{value:,}" if isinstance(value, int) else f"{value:,.3f}")
    screen.print(table)
