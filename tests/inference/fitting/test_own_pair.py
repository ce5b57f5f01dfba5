"""A fit trains a copy of the pair, from fresh parameters unless it is told otherwise."""

from __future__ import annotations

import signal
import threading
from typing import Any

import pytest
import torch
from anndata import AnnData
from torch import nn

from vae4counts.guides import Guide, MarginalGuide, guide_for
from vae4counts.inference import Checkpoints, FitInterrupted, Run, Schedule, SettingsError, fit
from vae4counts.inference.fitting.loop import TrainingLoop
from vae4counts.inference.fitting.own_pair import redraw
from vae4counts.models import GMVAE, VAE, CountMixture, Model
from vae4counts.models.likelihoods import LIKELIHOODS
from vae4counts.models.likelihoods.registry import LIKELIHOODS as KINDS
from vae4counts.models.priors import PRIORS, GaussianMixture, StandardNormal, VampPrior

pytestmark = pytest.mark.filterwarnings("ignore:this run cannot be saved")
QUICK: dict[str, Any] = {"progress": False, "device": "cpu", "epochs": 2}


def state_of(*modules: nn.Module) -> dict[str, torch.Tensor]:
    return {
        f"{i}.{name}": value.clone()
        for i, module in enumerate(modules)
        for name, value in module.state_dict().items()
    }


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


PAIRS = {
    "vae": lambda: VAE(7, StandardNormal(2)),
    "gmvae": lambda: GMVAE(7, GaussianMixture(2, 3)),
    "vamp": lambda: GMVAE(7, VampPrior(2, 3)),
    "linear": lambda: VAE(7, StandardNormal(2), decoder="linear"),
    "mixture": lambda: CountMixture(7, 3),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_a_pair_is_left_alone_and_gives_the_same_run_again(kind: str, adata: AnnData) -> None:
    model = PAIRS[kind]()
    guide = guide_for(model)
    before = state_of(model, guide)
    first = fit(model, guide, adata, **QUICK)
    kept, elbo = state_of(first.model, first.guide), first.evaluate(adata, num_samples=4).elbo
    second = fit(model, guide, adata, **QUICK)
    other = fit(model, guide, adata, seed=1, **QUICK)
    assert same(before, state_of(model, guide))
    assert same(kept, state_of(first.model, first.guide))
    assert first.evaluate(adata, num_samples=4).elbo == elbo
    assert same(kept, state_of(second.model, second.guide))
    assert not same(kept, state_of(other.model, other.guide))


def test_a_trained_pair_begins_anew(adata: AnnData) -> None:
    """Which is what the advice after a collapse asks for."""
    model = GMVAE(7, GaussianMixture(2, 3))
    run = fit(model, guide_for(model), adata, **QUICK)
    again = fit(run.model, run.guide, adata, **QUICK)
    assert same(state_of(run.model, run.guide), state_of(again.model, again.guide))
    assert again.history.drop(columns="seconds").equals(run.history.drop(columns="seconds"))


@pytest.mark.slow
def test_a_warm_start_continues(adata: AnnData) -> None:
    model = GMVAE(7, GaussianMixture(2, 3))
    first = fit(model, guide_for(model), adata, progress=False, device="cpu", epochs=60)
    kept = state_of(first.model, first.guide)
    more = fit(first.model, first.guide, adata, schedule=Schedule(warm_start=True), **QUICK)
    assert same(kept, state_of(first.model, first.guide))
    assert list(more.history.phase) == ["full", "full"]
    assert list(more.history.kl_weight) == [1.0, 1.0]
    fresh = fit(model, first.guide, adata, **QUICK)
    start, end = first.history.train_elbo.iloc[[0, -1]]
    assert abs(more.history.train_elbo.iloc[0] - end) < abs(start - end) / 2
    assert more.history.train_elbo.iloc[0] > fresh.history.train_elbo.iloc[0]
    with pytest.raises(SettingsError, match=r"restarts is 2: .* warm_start excludes"):
        fit(model, first.guide, adata, schedule=Schedule(warm_start=True, restarts=2), **QUICK)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("prior", PRIORS)
def test_redrawing_is_making_anew(likelihood: str, prior: str) -> None:
    of_counts = PRIORS[prior].needs_posterior or PRIORS[prior].default_decoder == "topics"
    if of_counts and not KINDS[likelihood].support.counts:
        pytest.skip("the prior is one of counts")

    def make() -> tuple[Model, Guide]:
        torch.manual_seed(5)
        model = VAE(7, PRIORS[prior](), KINDS[likelihood]())
        guide = guide_for(model)
        return model, guide

    model, guide = make()
    fresh = state_of(model, guide)
    for parameter in (*model.parameters(), *guide.parameters()):
        nn.init.constant_(parameter, 0.5)
    redraw(model, guide, 5)
    assert same(fresh, state_of(model, guide))


class Held(StandardNormal):
    def __init__(self, n_latent: int = 2, inner: Any = None) -> None:
        super().__init__(n_latent)
        self.inner = inner


class Forgetful(StandardNormal):
    def __init__(self, n_latent: int = 2, inner: Any = None) -> None:
        super().__init__(n_latent)


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        (lambda: Held(2, nn.Linear(2, 2)), "Held holds a Linear, which cannot be made anew"),
        (lambda: Forgetful(2), "Forgetful does not keep its argument inner"),
    ],
)
def test_what_cannot_be_made_anew_is_said_before_training(
    prior: Any, said: str, adata: AnnData
) -> None:
    model = VAE(7, prior())
    with pytest.raises(SettingsError, match=f"{said}.* with schedule=.*warm_start=True"):
        fit(model, guide_for(model), adata, **QUICK)
    fit(model, guide_for(model), adata, schedule=Schedule(warm_start=True), **QUICK)


def test_an_argument_of_any_kind_is_passed_on(adata: AnnData) -> None:
    model = VAE(7, Held(2, len))
    assert fit(model, guide_for(model), adata, **QUICK).model.prior.inner is len


def test_what_cannot_be_copied_is_said(adata: AnnData) -> None:
    model = VAE(7, Held(2, threading.Lock()))
    with pytest.raises(SettingsError, match=r"the pair cannot be copied.*lock"):
        fit(model, guide_for(model), adata, **QUICK)


def test_restarts_differ_from_each_other(adata: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []
    run = TrainingLoop.run

    def noting(self: TrainingLoop, *arguments: Any) -> Any:
        starts.append(state_of(self.guide))
        return run(self, *arguments)

    monkeypatch.setattr(TrainingLoop, "run", noting)
    model = VAE(7, StandardNormal(2))
    fit(
        model,
        MarginalGuide(7, 2),
        adata,
        schedule=Schedule(restarts=3),
        **QUICK | {"epochs": 5},
    )
    assert len(starts) == 4
    assert not any(same(starts[i], starts[j]) for i in range(3) for j in range(i))


def test_frozen_parameters_stay(adata: AnnData) -> None:
    model = VAE(7, StandardNormal(2))
    frozen = model.decoder.output.weight
    with torch.no_grad():
        frozen.fill_(0.25)
    frozen.requires_grad_(False)
    run = fit(model, guide_for(model), adata, **QUICK)
    assert (run.model.decoder.output.weight == 0.25).all()
    assert not same(state_of(model), state_of(run.model))


class StopError(Exception):
    pass


def test_training_leaves_a_checkpoint_when_it_ends(
    adata: AnnData, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short it is; another process can make the run of it without training."""
    model = GMVAE(7, GaussianMixture(2, 3))
    whole = fit(model, guide_for(model), adata, **QUICK)

    def stopped(*_: Any, **__: Any) -> Run:
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr("vae4counts.inference.fitting.fit.Run", stopped)
        with pytest.raises(StopError):
            fit(model, guide_for(model), adata, checkpoints=tmp_path, **QUICK)
    monkeypatch.setattr("vae4counts.inference.fitting.step.Steps.take", stopped)
    resumed = fit(
        model, guide_for(model), adata, checkpoints=Checkpoints(tmp_path, resume=True), **QUICK
    )
    assert same(state_of(whole.model, whole.guide), state_of(resumed.model, resumed.guide))
    assert resumed.metrics["epochs"] == 2


def test_a_signal_after_the_last_step_is_obeyed(
    adata: AnnData, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = VAE(7, StandardNormal(2))
    validate = TrainingLoop._validate

    def interrupted(self: TrainingLoop) -> Any:
        if self.epoch == 2:
            signal.raise_signal(signal.SIGTERM)
        return validate(self)

    monkeypatch.setattr(TrainingLoop, "_validate", interrupted)
    with pytest.raises(FitInterrupted, match="the state is saved"):
        fit(model, guide_for(model), adata, checkpoints=tmp_path, **QUICK)
    resume = Checkpoints(tmp_path, resume=True)
    assert len(fit(model, guide_for(model), adata, checkpoints=resume, **QUICK).history) == 2


@pytest.mark.parametrize("name", ["diagnose", "orient_signs"])
def test_what_follows_training_cannot_cost_the_fit(
    name: str, adata: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("it broke")

    monkeypatch.setattr(f"vae4counts.inference.fitting.fit.{name}", broken)
    model = GMVAE(7, GaussianMixture(2, 3))
    with pytest.warns(UserWarning, match="it broke"):
        run = fit(model, guide_for(model), adata, **QUICK)
    assert len(run.history) == 2
    assert ("components_used" in run.metrics) == (name == "orient_signs")


@pytest.mark.filterwarnings("default:this run cannot be saved")
def test_a_pair_that_cannot_be_saved_is_said_before_training(adata: AnnData) -> None:
    model = VAE(7, Held(2, len))
    with pytest.warns(UserWarning, match="this run cannot be saved: Held holds a builtin"):
        fit(model, guide_for(model), adata, **QUICK)
