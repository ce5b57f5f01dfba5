"""Generative models p(counts, latents), as Pyro models of a batch.

`MODELS` is the registry of the variants.
"""

import pyro

from .base import CountModel, StartsFromData, observations
from .config import Configured, from_config
from .count_vae import CountGMVAE, CountVAE
from .gmvae import GMVAE
from .library import LatentLibrary, Library, NoLibrary, ObservedLibrary
from .mixtures import CountMixture, GaussianMixtureModel
from .networks import Decoder, LinearDecoder, MLPDecoder
from .vae import VAE

# Parameters live in the modules, not in a store that all models of a process share.
pyro.settings.set(module_local_params=True)

MODELS: dict[str, type[CountModel]] = {
    "vae": VAE,
    "gmvae": GMVAE,
    "count-vae": CountVAE,
    "count-gmvae": CountGMVAE,
    "count-mixture": CountMixture,
    "gaussian-mixture": GaussianMixtureModel,
}

__all__ = [
    "GMVAE",
    "MODELS",
    "VAE",
    "Configured",
    "CountGMVAE",
    "CountMixture",
    "CountModel",
    "CountVAE",
    "Decoder",
    "GaussianMixtureModel",
    "LatentLibrary",
    "Library",
    "LinearDecoder",
    "MLPDecoder",
    "NoLibrary",
    "ObservedLibrary",
    "StartsFromData",
    "from_config",
    "observations",
]
