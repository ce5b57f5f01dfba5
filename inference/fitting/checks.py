"""Checks of model, guide, data and options against each other, before anything is changed."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vae4counts.data import CountFile, Counts
from vae4counts.data.warning import warn
from vae4counts.guides import Guide
from vae4counts.inference.fitting.handlers import Handler
from vae4counts.inference.fitting.options import SettingsError, check_is
from vae4counts.inference.parallel.device import device_of
from vae4counts.inference.parallel.processes import started_here
from vae4counts.models import Model, NotInModelError


def check_pair(model: Model, guide: Guide, *, counts: Counts, n_training: int) -> None:
    """Check that model and guide fit together, and the data.

    Raises:
        IncompatiblePairError: The guide does not fit the model.
        SettingsError: The model does not declare what it must, has other features than the data, or
            too many states.
    """
    try:
        model.check()
    except NotInModelError as error:
        raise SettingsError(str(error)) from error
    guide.check(model)
    try:
        model.config(), guide.config()
    except TypeError as error:
        warn(f"this run cannot be saved: {error}")
    n_features = [member.n_features for member in counts.members.values()]
    for (name, wanted), found in zip(model.table_sizes.items(), n_features, strict=True):
        is_only = len(n_features) == 1
        where = "" if is_only else f" of {name!r}"
        right = "n_features=adata.n_vars" if is_only else f"Modality({found})"
        if found != wanted:
            raise SettingsError(
                f"the model has {wanted} features{where} but the data have {found}: make the model "
                f"with {right}"
            )
    for latent in model.latents:
        if (latent.states or 0) > n_training:
            raise SettingsError(
                f"the model has {latent.states} states of {latent.name!r} but there are only "
                f"{n_training} training observations: ask for fewer"
            )


def check_handlers(handlers: Sequence[Handler], model: Model, guide: Guide) -> None:
    """Check that each handler does its work right with this pair.

    Raises:
        SettingsError: One does not.
    """
    for handler in handlers:
        check_is(Handler, "a handler", handler)
        if not handler.fits(model, guide):
            raise SettingsError(
                f"{handler!r} does not go with {type(guide).__name__} and {model.title}: "
                f"it is for {handler.needs}"
            )


def accelerator_for(device: str, devices: int, counts: Counts) -> str:
    """Return the kind of device to compute on, after checking that there are enough.

    Raises:
        SettingsError: There are fewer than were asked for, or they cannot share the data.
    """
    try:
        accelerator = device_of(device).type
    except ValueError as error:
        raise SettingsError(str(error)) from error
    started = started_here()
    if started is not None and devices not in (1, started):
        raise SettingsError(f"devices is {devices}, but torchrun has started {started} processes")
    on_disk = any(isinstance(member, CountFile) for member in counts.members.values())
    if started is None and devices > 1 and on_disk:
        raise SettingsError(
            f"devices is {devices}, but counts on disk cannot be passed to processes that are "
            "started here: start the script or the command with torchrun"
        )
    n_cuda = torch.cuda.device_count()
    if accelerator == "cuda" and max(devices, started or 1) > n_cuda:
        raise SettingsError(
            f"{max(devices, started or 1)} processes need as many CUDA devices, but torch finds "
            f"{n_cuda}: ask for fewer, or for device='cpu'"
        )
    return accelerator
