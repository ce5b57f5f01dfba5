"""The arguments of a fit, checked before anything is changed."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import torch

from vae4counts.data import CountFile, Counts
from vae4counts.guides import Guide
from vae4counts.inference.fitting.nonfinite import NonFinite
from vae4counts.inference.parallel.processes import Precision, started_here
from vae4counts.models import Model


class SettingsError(ValueError):
    """An argument that is out of range, or does not go with the model or the data."""


DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = get_args(Precision)
Strategy = Literal["ddp"]
STRATEGIES = get_args(Strategy)
NON_FINITE = get_args(NonFinite)


def check_settings(settings: dict[str, Any]) -> None:
    """Finds arguments that are out of range before anything is changed."""
    lowest = {
        "epochs": 1,
        "batch_size": 1,
        "warm_up_steps": 0,
        "patience": 1,
        "restarts": 1,
        "devices": 1,
        "min_counts": 0,
        "seed": 0,
    }
    for name, least in lowest.items():
        if settings[name] is not None and settings[name] < least:
            raise SettingsError(f"{name} is {settings[name]}: it must be {least} or more")
    for name in ("learning_rate", "prior_learning_rate"):
        if not 0 < settings[name] < math.inf:
            raise SettingsError(f"{name} is {settings[name]}: it must be above 0")
    if settings["clip_norm"] is not None and not 0 < settings["clip_norm"] < math.inf:
        raise SettingsError(f"clip_norm is {settings['clip_norm']}: it must be above 0, or None")
    if settings["stratify"] is not None and settings["group"] is not None:
        raise SettingsError("stratify and group exclude each other: name one column")
    listed = {"precision": PRECISIONS, "strategy": STRATEGIES, "non_finite": NON_FINITE}
    for name, choices in listed.items():
        if settings[name] not in choices:
            known = ", ".join(choices)
            raise SettingsError(f"{name} is {settings[name]!r}: it must be one of {known}")


def check_pair(model: Model, guide: Guide, *, n_features: int, n_training: int) -> None:
    """Finds a pair that does not fit together, or not to the data, before anything is changed."""
    guide.check(model)
    if n_features != model.n_features:
        raise SettingsError(
            f"the model has {model.n_features} features but the data have {n_features}: "
            "make the model with n_features=adata.n_vars"
        )
    for latent in model.latents:
        if (latent.states or 0) > n_training:
            raise SettingsError(
                f"the model has {latent.states} states of {latent.name!r} but there are only "
                f"{n_training} training observations: ask for fewer"
            )


def accelerator_for(device: str, devices: int, counts: Counts) -> str:
    """Which kind of device to compute on, after checking that there are as many as asked for."""
    if device not in DEVICES:
        raise SettingsError(f"device is {device!r}: it must be one of {', '.join(DEVICES)}")
    n_cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cuda" and not n_cuda:
        raise SettingsError("device is 'cuda', but torch finds no CUDA device: use 'auto' or 'cpu'")
    started = started_here()
    if started is not None and devices not in (1, started):
        raise SettingsError(f"devices is {devices}, but torchrun has started {started} processes")
    if started is None and devices > 1 and isinstance(counts, CountFile):
        raise SettingsError(
            f"devices is {devices}, but counts on disk cannot be handed to processes that are "
            "started here: start the script or the command by torchrun"
        )
    accelerator = "cuda" if n_cuda and device == "auto" else device.replace("auto", "cpu")
    if accelerator == "cuda" and max(devices, started or 1) > n_cuda:
        raise SettingsError(
            f"{max(devices, started or 1)} processes need as many CUDA devices, but torch finds "
            f"{n_cuda}: ask for fewer, or for device='cpu'"
        )
    return accelerator
