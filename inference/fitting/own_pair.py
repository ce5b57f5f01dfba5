"""The copy of a model and a guide that a fit trains, and its fresh parameters."""

from __future__ import annotations

import copy

import torch

from vae4counts.guides import Guide
from vae4counts.inference.fitting.options import SettingsError
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.models import Model

CPU = torch.device("cpu")


def own_pair(model: Model, guide: Guide, seed: int, *, warm_start: bool) -> tuple[Model, Guide]:
    """Copy a pair, so that a run's parameters are its own.

    Args:
        model: The model.
        guide: Its guide.
        seed: Seed of the fresh parameters.
        warm_start: Whether to keep the present parameters, all of them; frozen ones
            (``requires_grad=False``) are kept in any case.

    Raises:
        SettingsError: The pair cannot be copied, or not be made anew.
    """
    try:
        own_model, own_guide = copy.deepcopy((model, guide))
    except (RuntimeError, TypeError) as error:  # a generator, a lock, a tensor with a gradient
        raise SettingsError(f"the pair cannot be copied, to train the copy: {error}") from error
    if not warm_start:
        try:
            redraw(own_model, own_guide, seed)
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise SettingsError(
                f"the parameters cannot be drawn anew: {error}; or begin from those that the pair "
                "has, with schedule=Schedule(warm_start=True)"
            ) from error
    own_guide.attach(own_model)
    return own_model, own_guide


def redraw(model: Model, guide: Guide, seed: int) -> None:
    """Give a pair new random parameters, as if it were made anew; frozen ones stay.

    Raises:
        LookupError, RuntimeError, TypeError, ValueError: A part of it cannot be made anew.
    """
    with own_randomness(CPU, seed):
        for part in (model, guide):
            state = part.anew().state_dict()
            frozen = (name for name, own in part.named_parameters() if not own.requires_grad)
            state.update({name: part.get_parameter(name).detach() for name in frozen})
            part.load_state_dict(state)
