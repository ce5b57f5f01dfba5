"""A batch of three tables, of which some observations lack some, and models of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from vae4counts.data.counts.matrix import CountMatrix
from vae4counts.data.counts.tables import Tables
from vae4counts.data.counts.values import ValueMatrix
from vae4counts.models import Covariates, MLPDecoder, Modality, MultiVAE
from vae4counts.models.library import LatentLibrary
from vae4counts.models.likelihoods import Gaussian, NegativeBinomial, Poisson
from vae4counts.models.priors import GaussianMixture, Prior

N = 12
SIZES = {"rna": 5, "protein": 3, "methylation": 2}


def some_tables(seed: int = 0) -> Tables:
    """Make tables of 12 observations: all have rna, 8 protein and 6 methylation."""
    random = np.random.default_rng(seed)
    rna = random.poisson(2.0, (N, SIZES["rna"]))
    protein = random.poisson(4.0, (8, SIZES["protein"]))
    methylation = random.normal(size=(6, SIZES["methylation"])).astype(np.float32)
    methylation[2, 0] = np.nan
    has_protein = torch.tensor([0, 1, 2, 3, -1, -1, 4, 5, 6, -1, 7, -1])
    has_methylation = torch.tensor([-1, 0, -1, 1, 2, -1, 3, -1, -1, 4, 5, -1])
    return Tables(
        {
            "rna": CountMatrix.from_scipy(rna),
            "protein": CountMatrix.from_scipy(protein),
            "methylation": ValueMatrix(torch.from_numpy(methylation)),
        },
        {"rna": None, "protein": has_protein, "methylation": has_methylation},
        {"site": torch.tensor([0, 1] * 6)},
    )


def three_modalities(
    prior: Prior | None = None, covariates: Covariates | None = None, *, latent: bool = False
) -> MultiVAE:
    """Make a small model of the tables, without batch normalisation: rows are independent.

    Library sizes of rna and protein may be latent, by site if that is a covariate.
    """
    by = "site" if covariates else None
    sizes: dict[str, Any] = {"rna": "observed", "protein": None}
    if latent:
        sizes = {"rna": "latent", "protein": LatentLibrary(by)}

    def decoder() -> MLPDecoder:
        return MLPDecoder((4,), norm="none")

    return MultiVAE(
        {
            "rna": Modality(SIZES["rna"], NegativeBinomial(), decoder(), sizes["rna"]),
            "protein": Modality(SIZES["protein"], Poisson(), decoder(), sizes["protein"]),
            "methylation": Modality(SIZES["methylation"], Gaussian(), decoder()),
        },
        prior=GaussianMixture(2, 3) if prior is None else prior,
        covariates=covariates,
    )
