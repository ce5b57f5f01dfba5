"""Bring descriptions of older formats up to date: one function for each format."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from vae4counts.models.config import Configured

Config = dict[str, Any]

# Format 1 named a class without its module. Where the classes of that edition are today:
_MODULES = {
    "vae4counts.guides.encoder": ("Encoder",),
    "vae4counts.guides.exact": ("ExactGuide",),
    "vae4counts.guides.inputs": ("InputScaling",),
    "vae4counts.guides.joint": ("JointGuide",),
    "vae4counts.guides.marginal": ("MarginalGuide",),
    "vae4counts.models.gmvae": ("GMVAE", "CountGMVAE"),
    "vae4counts.models.library": ("LatentLibrary", "NoLibrary", "ObservedLibrary"),
    "vae4counts.models.likelihoods.categorical": ("Categorical",),
    "vae4counts.models.likelihoods.multinomial": ("Multinomial",),
    "vae4counts.models.likelihoods.negative_binomial": ("NegativeBinomial",),
    "vae4counts.models.likelihoods.poisson": ("Poisson",),
    "vae4counts.models.likelihoods.zero_inflated": (
        "ZeroInflatedNegativeBinomial",
        "ZeroInflatedPoisson",
    ),
    "vae4counts.models.mixtures": ("CountMixture", "GaussianMixtureModel"),
    "vae4counts.models.networks.decoders": ("LinearDecoder", "MLPDecoder"),
    "vae4counts.models.priors.gaussian_mixture": ("GaussianMixture",),
    "vae4counts.models.priors.standard_normal": ("StandardNormal",),
    "vae4counts.models.priors.vamp": ("VampPrior",),
    "vae4counts.models.vae": ("VAE", "CountVAE"),
}
_KEYS = {name: f"{module}.{name}" for module, names in _MODULES.items() for name in names}

# Format 1 kept all settings in one flat dictionary. Where they are today, and their names there:
_SECTIONS: Mapping[str, Mapping[str, str]] = {
    "split": {name: name for name in ("validation", "test", "stratify", "group", "min_counts")},
    "schedule": {
        "prior_learning_rate": "prior_learning_rate",
        "warm_up_steps": "warm_up_steps",
        "patience": "patience",
        "restarts": "restarts",
        "tempering": "handlers",
        "non_finite": "non_finite",
        "clip_norm": "clip_norm",
    },
    "compute": {"devices": "devices", "precision": "precision"},
}
_GONE = ("strategy",)  # it had one legal value


def _from_1(config: Config) -> Config:
    """Give classes their modules, and settings their sections."""
    parts = {name: _with_modules(config[name]) for name in ("model", "guide")}
    return {**config, **parts, "settings": _in_sections(config["settings"])}


def _with_modules(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_modules(item) for item in value]
    if isinstance(value, dict):
        inner = {name: _with_modules(item) for name, item in value.items()}
        return inner | {"type": _key(inner["type"])} if "type" in inner else inner
    return value


def _key(name: Any) -> str:
    """Find the key of the class that a name without a module meant.

    Raises:
        ValueError: There is no such class, or there are several.
    """
    if name in _KEYS:
        return _KEYS[name]
    found = [key for key, kind in Configured.registry.items() if kind.__name__ == name]
    if not found:
        raise ValueError(
            f"unknown class {name!r}: import the module that defines it before loading"
        )
    if len(found) > 1:
        raise ValueError(f"class {name!r} may be {' or '.join(found)}: import only one of them")
    return found[0]


def _in_sections(settings: Config) -> Config:
    sections = {
        section: {new: settings[old] for old, new in names.items() if old in settings}
        for section, names in _SECTIONS.items()
    }
    moved = {old for names in _SECTIONS.values() for old in names}
    kept = {name: x for name, x in settings.items() if name not in moved and name not in _GONE}
    return kept | {section: values for section, values in sections.items() if values}


def _from_2(config: Config) -> Config:
    """Leave everything as it is: without a word about covariates there are none."""
    return config


def _from_3(config: Config) -> Config:
    """Say that there is one table; its weights have other names, see `renamed_weights`."""
    settings = dict(config["settings"])
    if "warm_start" in settings:  # it is part of the schedule today
        own = {"warm_start": settings.pop("warm_start")}
        settings["schedule"] = settings.get("schedule", {}) | own
    return {**config, "settings": settings, "modalities": None, "widths": None}


MIGRATIONS: dict[int, Callable[[Config], Config]] = {1: _from_1, 2: _from_2, 3: _from_3}
"""For each older format, what turns its ``config.json`` into the next one's."""

# Up to format 3 a VAE was one table, whose parts were its own.
# It did not keep typical library sizes.
_NEW = "library.geometric_mean"
_MOVED = re.compile(r"^model\.(?=(decoder|likelihood|library)\.)")


def renamed_weights(state: Mapping[str, Tensor], wanted: Collection[str]) -> dict[str, Tensor]:
    """Return weights of any format by their names today.

    Args:
        state: The weights.
        wanted: The names of those that the run's description asks for.
    """
    today = {name: _MOVED.sub("model.modalities.counts.", name) for name in state}
    found = {today[name] if today[name] in wanted else name: x for name, x in state.items()}
    new = (name for name in wanted if name.endswith(_NEW) and name not in found)
    return {**found, **{name: torch.ones(()) for name in new}}
