"""Make a pair from the description in a run directory, of any format, after checking it."""

from __future__ import annotations

import warnings
from dataclasses import fields

import torch
from torch import nn

from vae4counts.data import Split
from vae4counts.guides import Guide
from vae4counts.inference.run.migrations import MIGRATIONS, Config
from vae4counts.models import Model, from_config

# Format 2 names classes with their modules and keeps settings in sections; format 3 has models and
# encoders with covariates; format 4 has several tables, and the parts of a VAE in its modalities.
# The number grows by one whenever an older version of vae4counts could not read, or would misread,
# what is written; a function in `MIGRATIONS` then brings the format before up to date.
FORMAT = 4

PARTS = [part.name for part in fields(Split)]
"""The parts of a split, as lists of rows among the weights: ``split.train`` ..."""

_TEXT_OR_NONE = (str, type(None))
_FIELDS: dict[str, tuple[type, ...]] = {
    "features": (list,),
    "fingerprint": (str,),
    "layer": _TEXT_OR_NONE,
    "label": _TEXT_OR_NONE,
    "settings": (dict,),
    "modalities": (dict, type(None)),
    "widths": (dict, type(None)),
}


def up_to_date(config: Config) -> Config:
    """Bring the description of a run to this version's format.

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
    """Return the fields of a description other than the pair.

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
    if not all(isinstance(place, str) for place in (found["modalities"] or {}).values()):
        raise TypeError("field 'modalities' holds more than places")
    if (widths := found["widths"]) is not None:
        numbers = list(widths.values())
        if not all(type(n) is int and n > 0 for n in numbers) or sum(numbers) != len(
            found["features"]
        ):
            raise TypeError("field 'widths' does not say how many features each table has")
    return found


def make_pair(config: Config) -> tuple[Model, Guide]:
    """Make the untrained pair that a description describes.

    Raises:
        TypeError: It does not describe a pair.
        ValueError: It names an unknown class, or arguments that the class does not have.
    """
    model, guide = from_config(config["model"]), from_config(config["guide"])
    if not isinstance(model, Model) or not isinstance(guide, Guide):
        raise TypeError("it does not describe a model and a guide")
    guide.attach(model)
    return model, guide


def shapes(config: Config) -> dict[str, torch.Size]:
    """Return the shapes of the weights that a description asks for, without allocating them.

    A few bytes can ask for more weights than any machine holds, so the file's weights are compared
    with these before the pair is made.

    Raises:
        As `make_pair`.
    """
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # comparing the sizes reports what is odd about them
        model, guide = make_pair(config)
    parts: dict[str, nn.Module] = {"model": model, "guide": guide}
    return {
        f"{part}.{name}": value.shape
        for part, module in parts.items()
        for name, value in module.state_dict().items()
    }


def check_state(state: dict[str, torch.Tensor], wanted: dict[str, torch.Size]) -> None:
    """Make sure that the weights are those that the description asks for.

    Raises:
        ValueError: One is missing or has another shape, or the split does not consist of rows.
    """
    for name, shape in wanted.items():
        if name not in state:
            raise ValueError(f"field {name!r} is missing")
        if state[name].shape != shape:
            found = tuple(state[name].shape)
            raise ValueError(
                f"field {name!r} has shape {found}, but config.json asks for {tuple(shape)}"
            )
    for name in (f"split.{part}" for part in PARTS):
        if name not in state or state[name].dtype != torch.int64 or state[name].ndim != 1:
            raise ValueError(f"field {name!r} is not a list of rows")
