"""``vae4counts fit``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeVar

import torch
import typer

from vae4counts.data import UnknownName, load, top_features
from vae4counts.guides import GUIDES, guide_for
from vae4counts.inference import storage
from vae4counts.inference.cli.shared import (
    app,
    command_line,
    known,
    one_line_errors,
    screen,
    show,
)
from vae4counts.inference.fit import DEVICES, SettingsError, fit
from vae4counts.inference.run import labels_of
from vae4counts.models import GMVAE, VAE
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.priors import PRIORS, MixturePrior

KINDS: dict[str, Callable[..., VAE]] = {"vae": VAE, "gmvae": GMVAE}
Named = TypeVar("Named")


@app.command("fit")
def fit_command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="A data set's name (see 'vae4counts datasets') or a file: .h5ad, .mtx, .csv, "
            ".tsv, a 10x folder or its .tar.gz, COCO instances .json. Observations are rows, "
            "counts are raw."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Directory to make for the results.")],
    model: Annotated[
        str, typer.Option(help="gmvae clusters as it embeds; vae only embeds.")
    ] = "gmvae",
    likelihood: Annotated[
        str, typer.Option(help=f"Distribution of the counts. {known(LIKELIHOODS)}")
    ] = "negative-binomial",
    decoder: Annotated[
        str, typer.Option(help="linear gives factors with loadings; mlp fits better.")
    ] = "mlp",
    prior: Annotated[
        str | None,
        typer.Option(
            help="By default gaussian-mixture for gmvae, standard-normal for vae. " + known(PRIORS)
        ),
    ] = None,
    guide: Annotated[
        str | None,
        typer.Option(help=f"By default the first of these that fits the model. {known(GUIDES)}"),
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
    device: Annotated[str, typer.Option(help=f"Where to compute. {known(DEVICES)}")] = "auto",
    offline: Annotated[
        bool, typer.Option("--offline", help="Download nothing: what is not here is an error.")
    ] = False,
) -> None:
    """Fit a model to counts and leave model, metrics, figures and annotated data in a directory."""
    with one_line_errors(), storage.new_directory(out) as staging:
        adata = load(data, offline=offline or None)
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
        command = command_line(context)
        run.settings |= {"data": source, "top_features": top, "command": command}
        run.evaluate(adata)
        run.annotate(adata)
        show(run.metrics, title=f"{type(pair).__name__} on {data}")
        from vae4counts.inference.figures import write_figures  # slow to import

        run.write(staging)
        adata.write_h5ad(staging / "annotated.h5ad", compression="gzip")
        write_figures(run, adata, staging, label)
    screen.print(f"Results are in {out}")


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
