"""The priors that are known by name, in the command line and the generic tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae4counts.models.registry import Registry

if TYPE_CHECKING:
    from vae4counts.models.priors import Prior

PRIORS: Registry[type[Prior]] = Registry(
    "vae4counts.models.priors",
    {
        "standard-normal": "standard_normal.StandardNormal",
        "gaussian-mixture": "gaussian_mixture.GaussianMixture",
        "vamp": "vamp.VampPrior",
        "flow": "flow.FlowPrior",
        "topics": "topics.TopicPrior",
    },
)
