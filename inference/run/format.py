"""From what a run directory says to the pair: any older format, and nothing taken on trust."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import torch
from torch import nn

from vae4counts.data import Split
from vae4counts.guides import Guide
from vae4counts.models import Model, from_config

# Grows by one whenever an older version of vae4counts could not read, or would misread, what is
# written. What it was before is then brought up to date by a function in `MIGRATIONS`.
FORMAT = 1

Config = dict[str, Any]
MIGRATIONS: dict[int, Callable[[Config], Config]] = {}
"""For each older format, what turns its ``config.json`` into the next one's."""

PARTS = [part.name for part in fields(Split)]
"""The parts of a split, as lists of rows among the weights: ``split.train`` ..."""

_TEXT_OR_NONE = (str, type(None))
_FIELDS: dict[str, tuple[type, ...]] = {
    "features": (list,),
    "fingerprint": (str,),
    "layer": _TEXT_OR_NONE,
    "label": _TEXT_OR_NONE,
    "settings": (dict,),
}


def up_to_date(config: Config) -> Config:
    """Brings the description of a run to this version's format.

    Raises:
        ValueError: It has no format, or a newer one.
    """
    found = config.get("format")
    if type(found) is not int or found < 1:
        raise ValueError(f"field 'format' is {found!r}: it must be a whole number of 1 or more")
    if found > FORMAT:
        raise ValueError(
            f"field 'format' is {found}, but this version of vae4counts reads up to {FORMAT}: "
            "install a newer one"
        )
    for older in range(found, FORMAT):
        config = MIGRATIONS[older](config) | {"format": older + 1}
    return config


def described(config: Config) -> Config:
    """The fields of a description other than the pair.

    Raises:
        LookupError: One is missing.
        TypeError: One is of another type than `Run.write` gives it.
    """
    found = {name: config[name] for name in _FIELDS}
    for name, value in found.items():
        if not isinstance(value, _FIELDS[name]):
            raise TypeError(f"field {name!r} is a {type(value).__name__}")
    if not all(isinstance(name, str) for name in found["features"]):
        raise TypeError("field 'features' holds more than names")
    return found


def make_pair(config: Config) -> tuple[Model, Guide]:
    """Makes the pair that a run's description tells of, untrained.

    Raises:
        TypeError: It tells of no pair.
        ValueError: It names a class that is not known, or arguments that are none of its.
    """
    model, guide = from_config(config["model"]), from_config(config["guide"])
    if not isinstance(model, Model) or not isinstance(guide, Guide):
        raise TypeError("it describes no pair of a model and a guide")
    guide.attach(model)
    return model, guide


def shapes(config: Config) -> dict[str, torch.Size]:
    """Shapes of the weights that a run's description tells of; takes no memory for them.

    A few bytes can ask for more weights than any machine holds: what is in the file is compared
    with these before the pair is made.

    Raises:
        As `make_pair`.
    """
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is odd about the sizes is said by comparing them
        model, guide = make_pair(config)
    parts: dict[str, nn.Module] = {"model": model, "guide": guide}
    return {
        f"{part}.{name}": value.shape
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def check_state(state: dict[str, torch.Tensor], wanted: dict[str, torch.Size]) -> None:
    """Makes sure that the weights are those that the description tells of.

    Raises:
        ValueError: One is missing or of another shape, or the split is no lists of rows.
    """
    for name, shape in wanted.items():
        if name not in state:
            raise ValueError(f"field {name!r} is missing")
        if state[name].shape != shape:
            found = tuple(state[name].shape)
            raise ValueError(
                f"field {name!r} is of shape {found}, but config.json asks for {tuple(shape)}"
            )
    for name in (f"split.{part}" for part in PARTS):
        if name not in state or state[name].dtype != torch.int64 or state[name].ndim != 1:
            raise ValueError(f"field {name!r} is no list of rows")
