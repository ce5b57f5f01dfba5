"""Pairs to look into: small ones whose answers can be written down, and a fitted one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts.data import CountMatrix
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import Run, fit
from vae4counts.inference.interpretation import Interpretation
from vae4counts.models import VAE, Model
from vae4counts.models.likelihoods import NegativeBinomial
from vae4counts.models.priors import StandardNormal

N, G = 60, 6


def made_counts(seed: int = 0) -> np.ndarray:
    """60 observations of 6 counts, none of them empty."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(1.0, 2.0, size=(N, G)))
    counts[:, 0] += 1
    return counts


def look_into(model: Model, counts: np.ndarray | None = None, **settings: Any) -> Interpretation:
    """A view of made counts through a model, its parameters far from their start."""
    counts = made_counts() if counts is None else counts
    kind = settings.pop("kind", None)
    guide = guide_for(model, kind, Encoder((8,), dropout=0.0))
    with torch.no_grad():
        for module in (model, guide):
            for parameter in module.parameters():
                if parameter.requires_grad:
                    parameter += 0.3 * torch.randn_like(parameter)
    features = [f"gene{j}" for j in range(counts.shape[1])]
    obs = pd.DataFrame(
        {"group": np.arange(len(counts)) % 3}, index=[f"cell{i}" for i in range(len(counts))]
    )
    matrix = CountMatrix.from_scipy(counts)
    return Interpretation(model.eval(), guide.eval(), matrix, features, obs, **settings)


@pytest.fixture(scope="session")
def look() -> Callable[..., Interpretation]:
    """The function `look_into`."""
    return look_into


def simulate(seed: int) -> AnnData:
    """Two conditions of cells of three types; the first 12 of 80 genes change with the condition.

    They come in pairs that swap their rates, a factor of four apart, so that the shares of the
    others stay as they are. Types differ in 20 other genes, and library sizes vary.
    """
    rng = np.random.default_rng(seed)
    condition, kind = rng.integers(2, size=800), rng.integers(3, size=800)
    base = rng.normal(0, 0.7, size=80)
    base[1:12:2] = base[:12:2]
    log_rate = np.tile(base, (800, 1))
    signs = np.where(np.arange(12) % 2, 1, -1) * np.log(2)
    log_rate[:, :12] += np.where(condition, 1, -1)[:, None] * signs
    log_rate[:, 30:50] += rng.normal(0, 0.8, size=(3, 20))[kind]
    share = np.exp(log_rate) / np.exp(log_rate).sum(1, keepdims=True)
    mean = share * rng.lognormal(6.2, 0.3, size=(800, 1))
    counts = rng.poisson(rng.gamma(10, mean / 10)).astype(np.float32)
    obs = pd.DataFrame(
        {"condition": np.array(["control", "treated"])[condition], "kind": kind.astype(str)},
        index=[f"cell{i}" for i in range(800)],
    )
    return AnnData(counts, obs, pd.DataFrame(index=[f"gene{j}" for j in range(80)]))


def fitted_run(adata: AnnData) -> Run:
    """A small VAE, fitted in seconds."""
    torch.manual_seed(0)
    model = VAE(80, StandardNormal(5), NegativeBinomial())
    guide = guide_for(model, encoder=Encoder((64,)))
    settings: dict[str, Any] = {"epochs": 120, "progress": False, "device": "cpu"}
    return fit(model, guide, adata, learning_rate=4e-3, **settings)


@pytest.fixture(scope="session")
def experiments() -> list[tuple[AnnData, Run]]:
    """Two simulated experiments, each with a run on it."""
    made = [simulate(seed) for seed in range(2)]
    return [(adata, fitted_run(adata)) for adata in made]
