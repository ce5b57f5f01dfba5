"""Free nats, balance and the analytic KL, against the formulas written out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from anndata import AnnData
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.guides import Guide, JointGuide, guide_for
from vae4counts.inference import Schedule, SettingsError, fit
from vae4counts.inference.fitting.component_handlers import AnalyticKL, Balance, FreeNats
from vae4counts.models import GMVAE, VAE
from vae4counts.models.priors import GaussianMixture, StandardNormal

MakePair = Callable[..., tuple[VAE, Guide]]
QUICK: dict[str, Any] = {"layer": "raw", "progress": False, "device": "cpu"}


def gaussian_kl(loc: Tensor, scale: Tensor, loc0: Tensor, scale0: Tensor) -> Tensor:
    ratio, distance = scale / scale0, (loc - loc0) / scale0
    return (0.5 * (ratio**2 + distance**2 - 1) - ratio.log()).sum(-1)


def parts_by_hand(model: Any, guide: Any, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``log q(y|x)``, ``log p(y)``, the reconstructions and the analytic KL of z, ``(B, K)``."""
    x = batch.counts.to_dense()
    features = guide.encoder(batch.counts)
    log_q = torch.log_softmax(guide.component_head(features), -1)
    log_p = (0.999 * torch.softmax(model.prior.logits, 0) + 0.001 / 3).log().expand_as(log_q)
    loc, scale = guide.posteriors(features)
    noise = torch.randn(3, len(x), guide.n_latent, dtype=torch.float64)
    reconstruction, kl = [], []
    for k in range(3):
        z = loc[:, k] + scale[:, k] * noise[k]
        mean = torch.softmax(model.decoder(z), -1) * batch.library[:, None]
        reconstruction.append((x * mean.log() - mean - torch.lgamma(x + 1)).sum(-1))
        prior = (model.prior.loc[k], model.prior.log_scale[k].exp() + 0.01)
        kl.append(gaussian_kl(loc[:, k], scale[:, k], *prior))
    return log_q, log_p, torch.stack(reconstruction, -1), torch.stack(kl, -1)


def loss_and_gradients(
    compute: Callable[[Batch], Tensor], modules: torch.nn.Module, batch: Batch
) -> tuple[Tensor, dict[str, Tensor]]:
    modules.zero_grad()
    torch.manual_seed(5)
    loss = compute(batch)
    loss.backward()
    parameters = modules.named_parameters()
    found = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in parameters}
    return loss.detach(), found


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.allclose(first[n], second[n], rtol=1e-7, atol=1e-9) for n in first)


@pytest.mark.parametrize("conditioning", ["selection", "addition"])
def test_analytic_kl_has_the_exact_loss_and_gradient(
    conditioning: str, few: Batch, a_pair: MakePair
) -> None:
    model, guide = a_pair("mixture", conditioning)
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(model, guide)

    def handled(batch: Batch) -> Tensor:
        with AnalyticKL():
            return elbo(batch)

    def by_hand(batch: Batch) -> Tensor:
        log_q, log_p, reconstruction, kl = parts_by_hand(model, guide, batch)
        terms = log_q.exp() * (reconstruction - kl + log_p - log_q)
        return -terms.sum() * batch.n_observations / len(batch)

    loss, gradients = loss_and_gradients(handled, elbo, few)
    exact, exact_gradients = loss_and_gradients(by_hand, elbo, few)
    torch.testing.assert_close(loss, exact, rtol=1e-10, atol=0)
    assert len(exact_gradients) > 8
    assert same(exact_gradients, gradients)


def test_a_factor_in_the_guide_without_rsample_has_a_wrong_gradient(
    few: Batch, a_pair: MakePair
) -> None:
    """What the seed did, and what `AnalyticKL` is there for."""
    model, guide = a_pair("mixture", "selection")
    both = torch.nn.ModuleList([model, guide])

    def objective(has_rsample: bool) -> Callable[[Batch], Tensor]:
        def guide_with_factor(batch: Batch) -> None:
            q: Any = guide
            features = q.encoder(batch.counts)
            loc, scale = q.posteriors(features)
            with pyro.plate("observations", batch.n_observations, subsample=batch.index):
                logits = q.component_head(features)
                y = pyro.sample(
                    "component", dist.Categorical(logits=logits), infer={"enumerate": "parallel"}
                )
                rows = torch.arange(len(batch))
                at = dist.Normal(loc[rows, y], scale[rows, y]).to_event(1)
                with _Unscored():
                    pyro.sample("z", at)
                prior_scale = model.prior.log_scale.exp() + 0.01
                kl = gaussian_kl(loc[rows, y], scale[rows, y], model.prior.loc[y], prior_scale[y])
                pyro.factor("kl", kl, has_rsample=has_rsample)

        def model_without_z(batch: Batch) -> None:
            with _Unscored():
                model(batch)

        elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)
        return lambda batch: elbo.differentiable_loss(model_without_z, guide_with_factor, batch)

    exact_loss, exact = loss_and_gradients(objective(True), both, few)
    loss, wrong = loss_and_gradients(objective(False), both, few)
    torch.testing.assert_close(loss, exact_loss, rtol=1e-10, atol=0)
    assert not same(exact, wrong)


class _Unscored(poutine.messenger.Messenger):
    """Leaves log p(z) out of a model."""

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        if message["name"] == "z":
            message["scale"] = message["scale"] * 0.0


def test_analytic_kl_of_a_plain_vae(few: Batch, a_pair: MakePair) -> None:
    model, guide = a_pair("standard-normal", "marginal")
    q: Any = guide
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(model, guide)

    def handled(batch: Batch) -> Tensor:
        with AnalyticKL():
            return elbo(batch)

    def by_hand(batch: Batch) -> Tensor:
        x = batch.counts.to_dense()
        loc, scale = q.posterior(batch.counts)
        z = loc + scale * torch.randn(loc.shape, dtype=torch.float64)
        mean = torch.softmax(model.decoder(z), -1) * batch.library[:, None]
        kl = gaussian_kl(loc, scale, loc.new_zeros(()), loc.new_ones(()))
        terms = (x * mean.log() - mean - torch.lgamma(x + 1)).sum(-1) - kl
        return -terms.sum() * batch.n_observations / len(batch)

    loss, gradients = loss_and_gradients(handled, elbo, few)
    exact, exact_gradients = loss_and_gradients(by_hand, elbo, few)
    torch.testing.assert_close(loss, exact, rtol=1e-10, atol=0)
    assert same(exact_gradients, gradients)


@pytest.mark.parametrize("free", [True, False])
def test_free_nats_take_the_component_term_away_below_them(
    free: bool, few: Batch, a_pair: MakePair
) -> None:
    model, guide = a_pair("mixture", "selection")
    log_q, log_p, _, _ = parts_by_hand(model, guide, few)
    departure = (log_q.exp() * (log_q - log_p)).sum(-1).mean().item()
    assert departure > 1e-3
    handler = FreeNats(departure * (1.01 if free else 0.99))
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(model, guide)

    def objective(around: Any) -> Callable[[Batch], Tensor]:
        def compute(batch: Batch) -> Tensor:
            with around:
                loss = elbo(batch)
            log_q, log_p, _, _ = parts_by_hand(model, guide, batch)
            size = batch.n_observations / len(batch)
            # taken away by hand where the handler is not there to do it
            taken = (log_q.exp() * (log_q - log_p)).sum() * size
            return loss - taken if free and around is not handler else loss

        return compute

    loss, gradients = loss_and_gradients(objective(handler), elbo, few)
    expected, expected_gradients = loss_and_gradients(objective(nullcontext()), elbo, few)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    assert same(expected_gradients, gradients)


def test_balance_is_the_divergence_of_the_mean_from_equal_shares(
    few: Batch, a_pair: MakePair
) -> None:
    model, guide = a_pair("mixture", "selection")
    elbo = TraceEnum_ELBO(max_plate_nesting=1, strict_enumeration_warning=False)(model, guide)
    handler = Balance(0.5)
    with handler:
        elbo(few)
    log_q, _, _, _ = parts_by_hand(model, guide, few)
    mean = log_q.exp().mean(0)
    expected = 0.5 * few.n_observations * (mean * (3 * mean).log()).sum()
    found = handler.penalty()
    torch.testing.assert_close(found, expected)
    weight = guide.component_head.weight  # type: ignore[union-attr]
    gradients = [torch.autograd.grad(p, weight)[0] for p in (found, expected)]  # type: ignore[arg-type]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FreeNats(0.0), "nats is 0.0"),
        (lambda: Balance(-1.0), "weight is -1.0"),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_handlers_say_how_they_were_made() -> None:
    made = [FreeNats(0.5), Balance(2.0), AnalyticKL()]
    assert list(map(repr, made)) == ["FreeNats(nats=0.5)", "Balance(weight=2.0)", "AnalyticKL()"]


@pytest.mark.parametrize(
    ("handler", "model", "kind"),
    [
        (FreeNats(0.5), GMVAE(7, GaussianMixture(2, 3)), "marginal"),
        (Balance(0.5), VAE(7, StandardNormal(2)), "marginal"),
        (AnalyticKL(), GMVAE(7, GaussianMixture(2, 3)), "marginal"),
    ],
)
def test_handlers_that_do_not_go_with_the_pair(
    handler: Any, model: VAE, kind: str, adata: AnnData
) -> None:
    with pytest.raises(SettingsError, match=type(handler).__name__):
        fit(
            model,
            guide_for(model, kind),
            adata,
            epochs=2,
            schedule=Schedule(handlers=[handler]),
            **QUICK,
        )


def test_they_train_a_joint_guide(adata: AnnData) -> None:
    torch.manual_seed(0)
    model = GMVAE(7, GaussianMixture(2, 3))
    guide = JointGuide(7, 2, 3)
    handlers = [FreeNats(0.5), Balance(0.1), AnalyticKL()]
    run = fit(model, guide, adata, epochs=5, schedule=Schedule(handlers=handlers), **QUICK)
    assert run.settings["schedule"]["handlers"] == list(map(repr, handlers))
    assert np.isfinite(run.history.drop(columns="phase").to_numpy()).all()
