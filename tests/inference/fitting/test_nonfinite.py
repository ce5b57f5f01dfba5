"""Steps that are not finite: located, skipped or not, and without lasting damage."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from anndata import AnnData
from torch import Tensor, nn

from vae4counts.data import counts_of, random_split
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import Checkpoints, NonFiniteError, Run, Schedule, TrainingError, fit
from vae4counts.inference.fitting.checkpoints import latest
from vae4counts.inference.fitting.nonfinite import Gradient, moments
from vae4counts.inference.fitting.start import start_from_latents
from vae4counts.inference.fitting.state import part
from vae4counts.inference.fitting.step import Steps
from vae4counts.inference.run.fitted_pair import pair_of
from vae4counts.models import GMVAE, VAE, CountMixture, MLPDecoder
from vae4counts.models.likelihoods import CountDistribution, Poisson
from vae4counts.models.priors import GaussianMixture, StandardNormal

pytestmark = pytest.mark.filterwarnings("ignore:Encountered")  # Pyro's own words

CULPRIT = 3
LARGE = 5000.0
QUICK: dict[str, Any] = {"progress": False, "device": "cpu", "batch_size": 16, "seed": 0}


class Fragile(Poisson):
    """It breaks at observations with a large total count."""

    def forward(self, outputs: Tensor, library: Tensor | None) -> CountDistribution:
        assert library is not None
        return super().forward(outputs + torch.where(library > LARGE, math.nan, 0.0), library)


@pytest.fixture
def spoilt(adata: AnnData) -> AnnData:
    """Data with one such observation, among those trained on."""
    row = random_split(100, validation=0.1, test=0.1, seed=0).train[CULPRIT]
    counts = adata.X.toarray()
    counts[row] = 1000
    adata.obs_names = [
        f"culprit{i}" if i == row else name for i, name in enumerate(adata.obs_names)
    ]
    return AnnData(counts, adata.obs, adata.var)


def fitted(adata: AnnData, **options: Any) -> Run:
    torch.manual_seed(0)
    model = VAE(7, StandardNormal(2), Fragile())
    return fit(model, guide_for(model), adata, **({"epochs": 3} | QUICK | options))


def test_it_stops_and_says_where(spoilt: AnnData) -> None:
    with pytest.raises(
        NonFiniteError, match=r"'counts' in the model .* 'culprit\d+': try"
    ) as caught:
        fitted(spoilt)
    assert caught.value.rows == [CULPRIT]
    assert caught.value.step <= 5


@pytest.mark.parametrize("policy", ["skip", "slow"])
def test_a_batch_is_skipped_and_counted(
    policy: Any, spoilt: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates, skipped = [], []
    set_rates, skip = Steps._set_learning_rates, Steps._skip

    def noting_rates(steps: Steps) -> None:
        set_rates(steps)
        highest = steps.settings.learning_rate * steps.settings.cycle.share(steps.taken)
        rates.append((steps.optimiser.param_groups[0]["lr"] / highest, len(skipped)))

    monkeypatch.setattr(Steps, "_set_learning_rates", noting_rates)
    monkeypatch.setattr(Steps, "_skip", lambda *given: (skipped.append(given), skip(*given)))
    run = fitted(spoilt, schedule=Schedule(non_finite=policy))
    assert list(run.history.skipped) == [1, 1, 1]
    assert list(run.history.step) == [4, 8, 12]
    assert run.metrics["batches_skipped"] == 3
    assert run.history.train_elbo.between(-40, 0).all()
    assert all(p.isfinite().all() for p in run.model.parameters())
    assert len(skipped) == 3
    factor = 0.5 if policy == "slow" else 1
    assert [found for found, _ in rates] == pytest.approx([factor**n for _, n in rates])


def test_the_state_before_the_step_is_saved(spoilt: AnnData, tmp_path: Path) -> None:
    """The fit continues from there, under another policy, as if that had been set at once."""
    with pytest.raises(NonFiniteError):
        fitted(spoilt, checkpoints=Checkpoints(tmp_path / "states"))
    resumed = fitted(
        spoilt,
        checkpoints=Checkpoints(tmp_path / "states", resume=True),
        schedule=Schedule(non_finite="skip"),
    )
    whole = fitted(spoilt, schedule=Schedule(non_finite="skip"))
    assert list(resumed.history.train_elbo) == list(whole.history.train_elbo)
    for one, other in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)


def spoil_gradient(_: nn.Module, __: Any, output: torch.Tensor) -> None:
    if output.requires_grad:
        output.register_hook(lambda gradient: gradient * math.nan)


def test_a_gradient_that_is_not_finite(adata: AnnData) -> None:
    torch.manual_seed(0)
    model = VAE(7, StandardNormal(2))
    model.decoder.register_forward_hook(spoil_gradient)
    with pytest.raises(NonFiniteError, match="the gradient is not finite in step 1") as caught:
        fit(model, guide_for(model), adata, epochs=2, **QUICK)
    assert len(caught.value.rows) == 16
    assert "and 11 more" in str(caught.value)


def test_a_gradient_of_a_mixture_without_layers_that_is_not_finite(adata: AnnData) -> None:
    model = CountMixture(7, 3)
    model.likelihood.register_forward_pre_hook(
        lambda module, inputs: spoil_gradient(module, None, inputs[0])
    )
    with pytest.raises(NonFiniteError, match="the gradient is not finite in step 1"):
        fit(model, guide_for(model), adata, epochs=2, **QUICK)


@pytest.mark.parametrize("name", ["weight", "bias"])
@pytest.mark.parametrize("clip_norm", [None, 10.0])
def test_every_gradient_is_looked_at(name: str, clip_norm: float | None) -> None:
    layer = nn.Linear(3, 2)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert Gradient(layer, clip_norm).norm().item() == pytest.approx(math.sqrt(8))
    getattr(layer, name).grad[0] = math.inf
    assert not Gradient(layer, clip_norm).norm().isfinite()


@pytest.mark.parametrize("kind", ["marginal", "joint"])
def test_parameters_that_are_not_finite_to_begin_with(kind: str, adata: AnnData) -> None:
    model = GMVAE(7, GaussianMixture(2, 3))
    guide = guide_for(model, kind)
    with torch.no_grad():
        guide.head.linear.bias[0] = math.nan
    with pytest.raises(NonFiniteError, match="is not finite in step 1"):
        fit(model, guide, adata, epochs=6, schedule=Schedule(warm_start=True), **QUICK)
    skip = Schedule(non_finite="skip", warm_start=True)
    with pytest.raises(TrainingError, match="no batch of epoch 1 had a finite loss"):
        fit(model, guide, adata, epochs=6, schedule=skip, **QUICK)


def test_components_do_not_start_at_what_is_not_finite(adata: AnnData) -> None:
    model = GMVAE(7, GaussianMixture(2, 3))
    guide = guide_for(model)
    with torch.no_grad():
        guide.head.linear.bias[0] = math.nan
    counts = counts_of(adata)
    with (
        pyro.validation_enabled(False),
        pytest.raises(TrainingError, match="that components start at are not finite: try"),
    ):
        start_from_latents(model, guide, counts, 0)


@pytest.mark.filterwarnings("ignore:X has counts up to")
@pytest.mark.parametrize("policy", ["stop", "skip"])
def test_moments_of_batch_normalisation_are_not_spoilt(
    policy: Any, spoilt: AnnData, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = VAE(7, StandardNormal(2), Fragile(), MLPDecoder((8,), norm="batch"))
    guide = guide_for(model, encoder=Encoder((8,), inputs="identity", norm="batch"))
    spoilt.X[np.flatnonzero(spoilt.X.sum(1) > LARGE)] = 1e30  # breaks the encoder's moments
    if policy == "stop":
        with pytest.raises(NonFiniteError):
            fit(model, guide, spoilt, epochs=2, checkpoints=tmp_path, **QUICK)
        _, state = latest(tmp_path)
        pair_of(model, guide).load_state_dict(part(state.tensors, "pair"))
    else:
        run = fit(model, guide, spoilt, epochs=2, schedule=Schedule(non_finite=policy), **QUICK)
        assert list(run.history.skipped) == [1, 1]
        model, guide = run.model, run.guide
    found = moments(pair_of(model, guide))
    assert len(found) == 6
    assert all(moment.isfinite().all() for moment in found)


@pytest.mark.parametrize("length", [0.1, 1e6])
def test_gradients_are_cut_as_torch_cuts_them(length: float) -> None:
    torch.manual_seed(0)
    modules = [nn.Linear(3, 2), nn.Linear(3, 2)]
    inputs = torch.randn(5, 3)
    for module in modules:
        module.load_state_dict(modules[0].state_dict())
        module(inputs).pow(2).sum().backward()
    gradient = Gradient(modules[0], length)
    gradient.clip(gradient.norm())
    torch.nn.utils.clip_grad_norm_(modules[1].parameters(), length)
    for one, other in zip(modules[0].parameters(), modules[1].parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_cut_gradients_train(adata: AnnData) -> None:
    torch.manual_seed(0)
    model = VAE(7, StandardNormal(2))
    run = fit(model, guide_for(model), adata, epochs=3, schedule=Schedule(clip_norm=0.5), **QUICK)
    assert run.settings["schedule"]["clip_norm"] == 0.5
    assert run.history.train_elbo.is_monotonic_increasing


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["layer", "batch", "rms", "none"])
@pytest.mark.parametrize("kind", ["marginal", "joint"])
def test_batches_of_one_row_break_no_normalisation(norm: str, kind: str, adata: AnnData) -> None:
    """A batch size of 23 leaves one of the 24 rows for the last batch; and batches of one alone."""
    adata = adata[:30].copy()
    for batch_size in (23, 1):
        torch.manual_seed(0)
        model = GMVAE(7, GaussianMixture(2, 3), decoder=MLPDecoder((8,), norm=norm))
        guide = guide_for(model, kind, encoder=Encoder((8,), norm=norm))
        run = fit(model, guide, adata, epochs=3, **(QUICK | {"batch_size": batch_size}))
        assert run.history.notna().all().all()
        assert math.isfinite(run.evaluate(adata, num_samples=3).elbo)
