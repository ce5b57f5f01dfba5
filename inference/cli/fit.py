"""``vae4counts fit``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import torch
import typer
from anndata import AnnData

from vae4counts.data import FEATURE_SCORES, UnknownName, frequent_features, load, top_features
from vae4counts.guides import GUIDES, guide_for
from vae4counts.inference.cli.shared import (
    app,
    command_line,
    known,
    one_line_errors,
    screen,
    show,
)
from vae4counts.inference.fitting.fit import fit
from vae4counts.inference.fitting.options import (
    DEVICES,
    Checkpoints,
    Compute,
    Schedule,
    SettingsError,
    SplitOptions,
)
from vae4counts.inference.parallel.processes import Processes
from vae4counts.inference.run import storage
from vae4counts.inference.run.alignment import labels_of
from vae4counts.models import GMVAE, VAE
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.priors import PRIORS, GaussianMixture, MixturePrior

KINDS: dict[str, Callable[..., VAE]] = {"vae": VAE, "gmvae": GMVAE}
Named = TypeVar("Named")


@app.command("fit")
def fit_command(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Argument(
            help="A data set's name (see 'vae4counts datasets') or a file: .h5ad, .zarr, .h5 or a "
            "folder (or .tar.gz) of 10x, .loom, .mtx, .csv, .tsv, COCO .json. Observations "
            "are rows, counts are raw."
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
    concentration: Annotated[
        float | None,
        typer.Option(
            help="Of a Dirichlet prior on a Gaussian mixture's weights. With 0.1, say, and three "
            "times as many components as you expect, those that the data do not ask for stay empty."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Most epochs; by default up to 400, by data size.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Observations a step.")] = 128,
    restarts: Annotated[
        int, typer.Option(min=1, help="Short fits to choose from: the best one is gone on with.")
    ] = 1,
    label: Annotated[
        str | None, typer.Option(help="Column of obs with known classes, to compare with.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option(help="Layer that holds the raw counts; X by default.")
    ] = None,
    top: Annotated[
        int | None,
        typer.Option("--top-features", min=1, help="Keep the features that vary most."),
    ] = None,
    method: Annotated[
        str, typer.Option("--feature-method", help=f"How they are chosen. {known(FEATURE_SCORES)}")
    ] = "deviance",
    min_observations: Annotated[
        int,
        typer.Option(min=0, help="Keep features with counts in at least so many observations."),
    ] = 0,
    min_counts: Annotated[
        int, typer.Option(min=0, help="Leave out observations with a lower total count.")
    ] = 0,
    stratify: Annotated[
        str | None, typer.Option(help="Column of obs to have in equal shares in all parts.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Column of obs, such as a donor, that no two parts share.")
    ] = None,
    out_of_core: Annotated[
        bool,
        typer.Option(
            "--out-of-core",
            help="Leave the counts of an .h5ad or .zarr on disk; annotated.h5ad is without them.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    device: Annotated[str, typer.Option(help=f"Where to compute. {known(DEVICES)}")] = "auto",
    non_finite: Annotated[
        str,
        typer.Option(
            help="What to do about a step whose loss is not finite: stop, skip the batch, or slow "
            "(skip it and halve the learning rates)."
        ),
    ] = "stop",
    clip_norm: Annotated[
        float | None, typer.Option(help="Cut longer gradients to this length.")
    ] = None,
    devices: Annotated[
        int,
        typer.Option(
            min=1,
            help="Processes that share the training. Under torchrun leave it out: "
            "torchrun --nproc-per-node N -m vae4counts.inference fit ...",
        ),
    ] = 1,
    offline: Annotated[
        bool, typer.Option("--offline", help="Download nothing: what is not here is an error.")
    ] = False,
    checkpoint_minutes: Annotated[
        float,
        typer.Option(min=0.001, help="Minutes between two savings of an unfinished fit."),
    ] = 5.0,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a fit by this command that was stopped, from OUT.partial.",
        ),
    ] = False,
) -> None:
    """Fit a model to counts and leave model, metrics, figures and annotated data in a directory.

    Now and then, and when it is stopped by SIGTERM or Ctrl-C, the state is saved in OUT.partial.
    """
    with one_line_errors(), _directories(out, resume=resume) as (checkpoints, staging):
        adata = load(data, out_of_core=out_of_core, offline=offline or None)
        labels_of(adata, label)
        torch.manual_seed(seed)
        with _bad_options():
            chosen = adata
            if min_observations:
                chosen = frequent_features(chosen, min_observations, layer)
            if top is not None:
                chosen = top_features(chosen, top, layer, method)
            pair = _make_model(
                chosen.n_vars, model, likelihood, decoder, prior, latents, components, concentration
            )
            partner = guide_for(pair, guide)
        options = SplitOptions(stratify=stratify, group=group, min_counts=min_counts)
        schedule = Schedule(restarts=restarts, non_finite=non_finite, clip_norm=clip_norm)
        run = fit(
            pair,
            partner,
            chosen,
            epochs=epochs,
            batch_size=batch_size,
            seed=seed,
            label=label,
            layer=layer,
            device=device,
            progress=staging is not None,
            split=options,
            schedule=schedule,
            checkpoints=Checkpoints(checkpoints, timedelta(minutes=checkpoint_minutes), resume),
            compute=Compute(devices=devices),
        )
        source = str(Path(data).resolve()) if Path(data).exists() else data
        run.settings |= {
            "data": source,
            "out_of_core": out_of_core,
            "min_observations": min_observations,
            "top_features": top,
            "feature_method": method,
            "command": command_line(context, without=("checkpoint_minutes", "resume")),
        }
        run.evaluate(adata)
        run.annotate(adata)
        if staging is None:
            return
        show(run.metrics, title=f"{type(pair).__name__} on {data}")
        from vae4counts.inference.report.figures import write_figures  # slow to import

        run.write(staging)
        annotated = _without_counts(adata) if out_of_core else adata
        annotated.write_h5ad(staging / "annotated.h5ad", compression="gzip")
        write_figures(run, adata, staging, label)
    screen.print(f"Results are in {out}")


@contextmanager
def _directories(out: Path, *, resume: bool) -> Iterator[tuple[Path, Path | None]]:
    """Those for checkpoints and results; None where another of several processes writes them."""
    if Processes.here().is_first:
        with storage.resumable_directory(out, resume=resume) as directories:
            yield directories
    else:
        yield storage.checkpoints_of(out.resolve()), None


def _without_counts(adata: AnnData) -> AnnData:
    """The tables of data whose counts are on disk, and stay there."""
    tables = {name: getattr(adata, name) for name in ("obs", "var", "obsm", "varm", "uns")}
    return AnnData(**tables)


def _make_model(
    n_features: int,
    model: str,
    likelihood: str,
    decoder: str,
    prior: str | None,
    latents: int,
    components: int,
    concentration: float | None,
) -> VAE:
    make = _pick("model", model, KINDS)
    name = prior or ("gaussian-mixture" if make is GMVAE else "standard-normal")
    kind = _pick("prior", name, PRIORS)
    mixture = issubclass(kind, MixturePrior)
    made = kind(latents, components) if mixture else kind(latents)
    if concentration is not None:
        if kind is not GaussianMixture:
            raise SettingsError(f"--concentration is for the prior gaussian-mixture, not {name}")
        made = GaussianMixture(latents, components, concentration=concentration)
    return make(n_features, made, _pick("likelihood", likelihood, LIKELIHOODS)(), decoder)


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
