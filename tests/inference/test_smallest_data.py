"""Every question about the smallest data is answered, or refused in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts.data import DataError
from vae4counts.guides import guide_for
from vae4counts.inference import Run, SettingsError, compare, fit
from vae4counts.models import GMVAE, VAE, CountMixture, Model, NotInModelError
from vae4counts.models.likelihoods import Categorical, Multinomial
from vae4counts.models.priors import GaussianMixture, StandardNormal, VampPrior

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings(
        "ignore:.* have no counts at all",
        "ignore:for over 10 % of the observations",
        "ignore:only .* draws make what is given likely",
    ),
]

MODELS: dict[str, Callable[[int], Model]] = {
    "gmvae": lambda g: GMVAE(g, GaussianMixture(2, 2)),
    "more latents than observations": lambda g: GMVAE(g, GaussianMixture(12, 2), library="latent"),
    "one component": lambda g: GMVAE(g, GaussianMixture(2, 1), library=None),
    "vamp": lambda g: GMVAE(g, VampPrior(2, 2)),
    "linear": lambda g: VAE(g, StandardNormal(1), decoder="linear"),
    "multinomial": lambda g: GMVAE(g, GaussianMixture(2, 2), Multinomial()),
    "categorical": lambda g: VAE(g, StandardNormal(2), Categorical()),
    "mixture": lambda g: CountMixture(g, 2),
}
NOISE = np.random.default_rng(0).poisson(1.0, (20, 3))
DATA: dict[str, np.ndarray] = {
    "one": NOISE[:1],
    "two": NOISE[:2],
    "three of one feature": NOISE[:3, :1],
    "five": NOISE[:5],
    "twenty of two features": NOISE[:, :2],
    "all zero": np.zeros((6, 2)),
    "constant": np.ones((6, 3)),
}
QUESTIONS: dict[str, Callable[[Run, AnnData], object]] = {
    "evaluate": lambda run, data: run.evaluate(data, label="kind"),
    "evaluate one": lambda run, data: run.evaluate(data[:1].copy()),
    "annotate": lambda run, data: run.annotate(data, denoised=True),
    "check": lambda run, data: run.check(data, 5),
    "check the posterior": lambda run, data: run.check(data, 5, replicates="posterior"),
    "predictive": lambda run, data: run.predictive(data, 5),
    "posterior": lambda run, data: run.posterior(data, 5, sites=["counts"]),
    "log_likelihoods": lambda run, data: run.log_likelihoods(data, 100),
    "compare": lambda run, data: compare({"a": run, "b": run}, data, num_samples=100),
    "groups": lambda run, data: run.interpret(data).differential_expression("kind", num_pairs=9),
    "traverse_groups": lambda run, data: run.interpret(data).traverse_groups("kind", "x", "y"),
    "component_labels": lambda run, data: run.interpret(data).component_labels("kind"),
    "cooccurrence": lambda run, data: run.interpret(data).cooccurrence(0),
    "expected_given": lambda run, data: run.interpret(data).expected_given([run.features[0]]),
    "traverse_latent": lambda run, data: run.interpret(data).traverse_latent(0),
    **{
        name: lambda run, data, name=name: getattr(run.interpret(data), name)()
        for name in (
            "latent_table",
            "latent_effects",
            "feature_correlation",
            "component_table",
            "component_contrasts",
            "component_profiles",
            "component_overlaps",
        )
    },
}


# What a refusal says: that the model has no such thing, or the data too little.
REFUSALS = (
    "has no components",
    "has no latent space",
    "the only component has nothing",
    "given their total",
    "takes all counts from 3 on as one",
    "There is no group",
    "none are left to compare",
    "makes what is given possible",
)
TOO_LITTLE = ("3 are needed", "pseudo-inputs", "states of 'component'")


def refusal(ask: Callable[[], object]) -> str:
    """What is said in place of an answer; nothing where there is one."""
    try:
        ask()
    except (DataError, NotInModelError, SettingsError, KeyError, ValueError) as error:
        return str(error) or "nothing is said"
    return ""


# every model and all data, not every one with all
CASES = [(kind, "gmvae") for kind in DATA]
CASES += [(kind, model) for kind in ("one", "five") for model in MODELS if model != "gmvae"]
CASES += [("three of one feature", "linear"), ("all zero", "mixture"), ("constant", "vamp")]


@pytest.mark.parametrize(("kind", "model"), CASES)
def test_every_question(kind: str, model: str, tmp_path: Path) -> None:
    """Warnings are errors."""
    n, g = DATA[kind].shape
    obs = pd.DataFrame({"kind": (["x", "y"] * 10)[:n]}, [f"o{i}" for i in range(n)])
    features = pd.DataFrame(index=[f"f{j}" for j in range(g)])
    data = AnnData(DATA[kind].astype(np.float32), obs, features)
    torch.manual_seed(0)
    made = MODELS[model](g)
    runs: list[Run] = []
    settings: dict[str, Any] = {"epochs": 2, "progress": False, "device": "cpu"}
    said = refusal(lambda: runs.append(fit(made, guide_for(made), data, **settings)))
    assert not said or any(words in said for words in TOO_LITTLE)
    assert said or runs
    for run in runs:
        for question, ask in QUESTIONS.items():
            said = refusal(lambda ask=ask, run=run: ask(run, data))  # type: ignore[misc]
            assert "\n" not in said
            assert not said or any(words in said for words in REFUSALS), question
        run.save(tmp_path / "run")
