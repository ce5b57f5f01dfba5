"""The command line: ``vae4counts fit``, ``evaluate`` and ``datasets``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer
from rich.console import Console
from rich.table import Table

from vae4counts.data import DATASETS, DataError, UnknownName, load, top_features
from vae4counts.guides import GUIDES, IncompatiblePairError, guide_for
from vae4counts.inference import storage
from vae4counts.inference.fit import DEVICES, SettingsError, fit
from vae4counts.inference.run import Run, labels_of
from vae4counts.inference.training.loop import TrainingError
from vae4counts.models import GMVAE, VAE
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.priors import PRIORS, MixturePrior

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


KINDS: dict[str, Callable[..., VAE]] = {"vae": VAE, "gmvae": GMVAE}
Named = TypeVar("Named")


def _known(names: Iterable[str]) -> str:
    return f"One of: {', '.join(names)}."


@app.command("fit")
def fit_command(
    data: Annotated[
        str,
        typer.Argument(
            help="A data set's name (see 'vae4counts datasets') or a file: .h5ad, .mtx, .csv, "
            ".tsv, a 10x folder, COCO instances .json. Observations are rows, counts are raw."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory to make for the results.")],
    model: Annotated[
        str, typer.Option(help="gmvae clusters as it embeds; vae only embeds.")
    ] = "gmvae",
    likelihood: Annotated[
        str, typer.Option(help=f"Distribution of the counts. {_known(LIKELIHOODS)}")
    ] = "negative-binomial",
    decoder: Annotated[
        str, typer.Option(help="linear gives factors with loadings; mlp fits better.")
    ] = "mlp",
    prior: Annotated[
        str | None,
        typer.Option(
            help="By default gaussian-mixture for gmvae, standard-normal for vae. " + _known(PRIORS)
        ),
    ] = None,
    guide: Annotated[
        str | None,
        typer.Option(help=f"By default the first of these that fits the model. {_known(GUIDES)}"),
    ] = None,
    latents: Annotated[int, typer.Option(min=1, help="Dimensions of the latent space.")] = 10,
    components: Annotated[int, typer.Option(min=1, help="Components of a mixture prior.")] = 10,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Most epochs; by default up to 400, by data size.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Observations a step.")] = 128,
    label: Annotated[
        str | None, typer.Option(help="Column of obs with known classes, to compare with.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer that holds the raw counts; X by default.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top-features", min=1, help="Keep the features of highest deviance."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    device: Annotated[str, typer.Option(help=f"Where to compute. {_known(DEVICES)}")] = "auto",
) -> None:
    """Fit a model to counts and leave model, metrics, figures and annotated data in a directory."""
    with _one_line_errors(), storage.new_directory(out) as staging:
        adata = load(data)
        labels_of(adata, label)
        torch.manual_seed(seed)
        with _bad_options():
            if top is not None:
                adata = top_features(adata, top, layer=layer)
            pair = _make_model(adata.n_vars, model, likelihood, decoder, prior, latents, components)
            partner = guide_for(pair, guide)
        run = fit(
            pair,
            partner,
            adata,
            layer=layer,
            label=label,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            device=device,
        )
        source = str(Path(data).resolve()) if Path(data).exists() else data
        run.settings |= {"data": source, "top_features": top}
        run.evaluate(adata)
        run.annotate(adata)
        _show(run.metrics, title=f"{type(pair).__name__} on {data}")
        from vae4counts.inference.figures import write_figures  # slow to import

        run.write(staging)
        adata.write_h5ad(staging / "annotated.h5ad", compression="gzip")
        write_figures(run, adata, staging, label)
    screen.print(f"Results are in {out}")


@app.command("evaluate")
def evaluate_command(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="A directory that fit made.")],
    data: Annotated[
        str | None,
        typer.Option(help="Other data with the same features; by default the fitted data's test."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Column of obs with known classes; the fit's by default.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Draws for each observation.")] = 100,
) -> None:
    """Evaluate a fitted model on held-out observations, or on other data."""
    with _one_line_errors():
        run = Run.load(directory)
        source = data if data is not None else run.settings.get("data")
        if source is None:
            raise storage.RunDirectoryError(
                f"{directory} does not say what it was fitted to: --data"
            )
        adata = load(source)
        known = run.knows(adata)
        if data is None and not known:
            raise storage.RunDirectoryError(
                f"{source} has changed since {directory} was fitted to it, and with it what was "
                "held out. Name the data with --data to evaluate on all of them"
            )
        result = run.evaluate(adata, label=label, num_samples=samples).to_dict()
    _show(result | {"n_test": result["n"]} if known else result, title=f"{directory} on {source}")


@app.command("datasets")
def datasets_command() -> None:
    """List the data sets that are known by name."""
    table = Table("name", "observations x features", "what", "licence", title="Known data sets")
    for name, known in DATASETS.items():
        table.add_row(name, f"{known.shape[0]:,} x {known.shape[1]:,}", known.title, known.licence)
    screen.print(table)


def main() -> None:
    """Runs the command line; the entry point of the package."""
    app()


def _make_model(
    n_features: int,
    model: str,
    likelihood: str,
    decoder: str,
    prior: str | None,
    latents: int,
    components: int,
) -> VAE:
    make = _pick("model", model, KINDS)
    name = prior or ("gaussian-mixture" if make is GMVAE else "standard-normal")
    kind = _pick("prior", name, PRIORS)
    mixture = issubclass(kind, MixturePrior)
    chosen = kind(latents, components) if mixture else kind(latents)
    return make(n_features, chosen, _pick("likelihood", likelihood, LIKELIHOODS)(), decoder)


def _pick(what: str, name: str, registry: Mapping[str, Named]) -> Named:
    if name not in registry:
        raise UnknownName(what, name, registry)
    return registry[name]


@contextmanager
def _bad_options() -> Iterator[None]:
    """A part that cannot be made of these options is the options' fault."""
    try:
        yield
    except ValueError as error:
        raise SettingsError(str(error)) from error


@contextmanager
def _one_line_errors() -> Iterator[None]:
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


def _show(metrics: dict[str, Any], title: str) -> None:
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
