"""The training loop: the best state is kept, early stopping stops, what diverges is reported."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts.data import CountMatrix
from vae4counts.guides import Guide, guide_for
from vae4counts.inference import Run, Schedule, TrainingError, fit
from vae4counts.inference.fitting import loop
from vae4counts.inference.fitting.learning_rate import OneCycle
from vae4counts.inference.fitting.validation import validation_parts
from vae4counts.models import GMVAE, VAE, CountMixture, Model
from vae4counts.models.priors import GaussianMixture, StandardNormal

pytestmark = pytest.mark.slow


def fitted(adata: AnnData, model: Model, kind: str | None = None, **settings: Any) -> Run:
    settings = {"progress": False, "device": "cpu"} | settings
    return fit(model, guide_for(model, kind), adata, **settings)


def validation_elbo(run: Run, adata: AnnData) -> float:
    counts = CountMatrix.from_anndata(adata).subset(run.split.validation)
    return sum(validation_parts(run.model, run.guide, counts).values())


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Lets validation find the given ELBOs, one an epoch, whatever the model."""

    def script(*elbos: float) -> None:
        values = itertools.chain(elbos, itertools.repeat(elbos[-1]))
        monkeypatch.setattr(loop, "validation_parts", lambda *_: {"counts": next(values), "z": 0.0})

    return script


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (VAE(7, StandardNormal(2)), "marginal"),
        (GMVAE(7, GaussianMixture(2, 3)), "marginal"),
        (GMVAE(7, GaussianMixture(2, 3)), "joint"),
        (CountMixture(7, 3), "exact"),
    ],
)
def test_the_best_validation_elbo_is_that_of_the_run(
    model: Model, kind: str, adata: AnnData
) -> None:
    run = fitted(
        adata, model, kind, epochs=20, learning_rate=0.1, schedule=Schedule(warm_up_steps=5)
    )
    full = run.history[(run.history.phase == "full") & (run.history.kl_weight == 1)]
    # training multiplies with another library, which adds up in another order
    assert validation_elbo(run, adata) == pytest.approx(full.validation_elbo.max(), rel=1e-6)


def test_the_best_state_at_full_kl_weight_is_kept(
    adata: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    elbos = [0.0, 0.0, -5.0, -3.0, -4.0]
    states: list[dict[str, torch.Tensor]] = []

    def validate(model: Model, guide: Guide, _: CountMatrix) -> dict[str, float]:
        pair = torch.nn.ModuleList([model, guide])
        states.append({name: value.clone() for name, value in pair.state_dict().items()})
        return {"counts": elbos[len(states) - 1]}

    monkeypatch.setattr(loop, "validation_parts", validate)
    model = VAE(7, StandardNormal(2))
    run = fitted(adata, model, epochs=5, batch_size=80, schedule=Schedule(warm_up_steps=3))
    assert run.history.kl_weight.tolist() == [1 / 3, 2 / 3, 1, 1, 1]
    assert run.history.validation_elbo.tolist() == elbos
    kept = torch.nn.ModuleList([run.model, run.guide]).state_dict()
    same = [all(torch.equal(kept[name], state[name]) for name in kept) for state in states]
    assert same == [False, False, False, True, False]


@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_stops(patience: int, adata: AnnData, scripted: Any) -> None:
    scripted(-9.0, -7.0, -8.0)
    run = fitted(
        adata,
        VAE(7, StandardNormal(2)),
        epochs=50,
        schedule=Schedule(warm_up_steps=0, patience=patience),
    )
    assert len(run.history) == 2 + patience


def test_early_stopping_waits_for_full_kl_weight(adata: AnnData, scripted: Any) -> None:
    scripted(-1.0, -2.0)
    run = fitted(
        adata,
        VAE(7, StandardNormal(2)),
        epochs=50,
        batch_size=80,
        schedule=Schedule(warm_up_steps=10, patience=4),
    )
    assert len(run.history) == 10 + 4


@pytest.mark.parametrize("epochs", [1, 2, 3, 7])
def test_a_mixture_takes_no_more_epochs_than_asked_for(epochs: int, adata: AnnData) -> None:
    run = fitted(adata, GMVAE(7, GaussianMixture(2, 3)), epochs=epochs)
    assert len(run.history) == epochs
    assert run.history.phase.tolist().count("plain") == epochs // 2


def test_history_tells_what_happened(adata: AnnData) -> None:
    model = GMVAE(7, GaussianMixture(2, 3))
    run = fitted(adata, model, epochs=9, batch_size=30, schedule=Schedule(warm_up_steps=4))
    history = run.history
    assert history.phase.tolist() == ["plain"] * 4 + ["full"] * 5
    for _, phase in history.groupby("phase"):
        assert phase.epoch.tolist() == list(range(1, len(phase) + 1))
        assert phase.step.tolist() == [3 * epoch for epoch in phase.epoch]
    assert history.kl_weight.iloc[-1] == 1
    assert (history.validation_reconstruction < 0).all()
    assert np.isfinite(history.drop(columns="phase").to_numpy()).all()
    assert run.metrics["epochs"] == 9
    assert run.metrics["observations_per_second"] > 0
    assert 0 < run.history.seconds.sum() < run.metrics["seconds"]


def test_training_raises_the_objective(adata: AnnData) -> None:
    run = fitted(
        adata,
        VAE(7, StandardNormal(2)),
        epochs=60,
        learning_rate=5e-3,
        schedule=Schedule(warm_up_steps=0),
    )
    assert run.history.train_elbo.iloc[-5:].mean() > run.history.train_elbo.iloc[0] + 1
    assert run.history.validation_elbo.iloc[-1] > run.history.validation_elbo.iloc[0]


@pytest.mark.filterwarnings("ignore:Encountered NaN")
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_objective_that_is_not_finite(value: float, adata: AnnData) -> None:
    model = VAE(7, StandardNormal(2))
    guide = guide_for(model)
    with torch.no_grad():
        guide.head.linear.bias[0] = value
    with pytest.raises(TrainingError, match=r"in step 1, .* try a lower learning rate"):
        fit(
            model,
            guide,
            adata,
            epochs=3,
            progress=False,
            device="cpu",
            schedule=Schedule(warm_start=True),
        )


def test_validation_that_is_never_finite(adata: AnnData, scripted: Any) -> None:
    scripted(math.nan)
    with pytest.raises(TrainingError, match="the validation ELBO is nan"):
        fitted(adata, VAE(7, StandardNormal(2)), epochs=2)


def test_validation_draws_are_the_same_each_time(adata: AnnData) -> None:
    run = fitted(adata, GMVAE(7, GaussianMixture(2, 3)), epochs=1)
    values = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        values.append(validation_elbo(run, adata))
        assert torch.initial_seed() == seed
    assert values[0] == values[1]


def test_evaluation_of_the_fitted_data_looks_at_the_test_part_alone(adata: AnnData) -> None:
    run = fitted(adata, GMVAE(7, GaussianMixture(2, 3)), epochs=2)
    parts = [run.split.train, run.split.validation, run.split.test]
    assert sorted(np.concatenate(parts)) == list(range(100))
    result = run.evaluate(adata, num_samples=4)
    assert result.n == len(run.split.test) == 10
    test_part = adata[run.split.test].copy()
    assert run.evaluate(test_part, num_samples=4) == result
    changed = adata.copy()
    changed.X = changed.X.toarray()
    changed.X[run.split.train] = changed.X[run.split.train][:, ::-1]  # the same totals
    assert run.evaluate(changed, num_samples=4).n == 100
    other = adata.copy()
    other.obs_names = pd.Index([f"other{i}" for i in range(100)])
    assert run.evaluate(other, num_samples=4).n == 100
    assert run.metrics["n_test"] == 10
    assert run.metrics["elbo"] == result.elbo


def test_training_never_sees_the_test_part(adata: AnnData) -> None:
    model = VAE(7, StandardNormal(2))
    guide = guide_for(model)
    first = fit(model, guide, adata, epochs=2, progress=False, device="cpu")
    adata.X = adata.X.toarray()
    adata.X[first.split.test] = 5
    second = fit(model, guide, adata, epochs=2, progress=False, device="cpu")
    state = first.model.state_dict()
    assert all(torch.equal(state[name], v) for name, v in second.model.state_dict().items())
    adata.X[first.split.train] = 5
    third = fit(model, guide, adata, epochs=2, progress=False, device="cpu").model.state_dict()
    assert not all(torch.equal(state[name], v) for name, v in third.items())


def test_the_prior_has_a_learning_rate_of_its_own(adata: AnnData) -> None:
    """Adam's first step is as long as the learning rate, whatever the gradient.

    Half of the cycle lies behind the middle of a single step.
    """
    torch.manual_seed(0)
    model = GMVAE(7, GaussianMixture(2, 3))
    guide = guide_for(model, "joint")  # not started at groups
    settings: dict[str, Any] = {
        "learning_rate": 1e-4,
        "schedule": Schedule(prior_learning_rate=0.02, warm_start=True),
    }
    before = {"prior": model.prior.state_dict(), "guide": guide.state_dict()}
    settings |= {"progress": False, "device": "cpu", "epochs": 1, "batch_size": 1000}
    run = fit(model, guide, adata, **settings)
    modules = {"prior": run.model.prior, "guide": run.guide}
    assert list(run.history.step) == [1]
    moved = {
        name: max(
            (parameter.detach() - before[name][key]).abs().max().item()
            for key, parameter in module.named_parameters()
        )
        for name, module in modules.items()
    }
    share = OneCycle(1).share(0)
    assert moved == pytest.approx({"prior": 0.02 * share, "guide": 1e-4 * share}, rel=1e-2)
