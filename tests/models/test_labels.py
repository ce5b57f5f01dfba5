"""Partial labels: which classes there are, and what they do to a model."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyro.distributions as dist
import pytest
import torch
from anndata import AnnData
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from vae4counts.data import Batch, DataError, UnknownName
from vae4counts.guides import Encoder, IncompatiblePairError, JointGuide, guide_for
from vae4counts.inference.fitting.handlers import KLWarmUp
from vae4counts.inference.posterior.draws import draw
from vae4counts.models import (
    GMVAE,
    VAE,
    CountGMVAE,
    Covariates,
    Factor,
    Labels,
    MLPDecoder,
    Model,
    from_config,
)
from vae4counts.models.labels import KnownComponent
from vae4counts.models.likelihoods import Poisson
from vae4counts.models.priors import GaussianMixture, MixturePrior, StandardNormal, VampPrior

TWO = Labels("type", ["a", "b"])


def table(values: Any) -> AnnData:
    obs = pd.DataFrame({"type": values}, [f"o{i}" for i in range(len(values))])
    return AnnData(np.ones((len(values), 2), np.float32), obs)


@pytest.mark.parametrize(
    ("values", "classes", "codes"),
    [
        (["b", None, "a", "nan"], ["a", "b"], [1, -1, 0, -1]),
        ([10.0, np.nan, 2.0, 10.0], ["2", "10"], [1, -1, 0, 1]),
        ([True, False, True], ["False", "True"], [1, 0, 1]),
        (["10", "9", "", "10"], ["9", "10"], [1, 0, -1, 1]),
        (pd.Categorical(["b", None, "a"], categories=["c", "b", "a"]), ["a", "b"], [1, -1, 0]),
        (["only", None], ["only"], [0, -1]),
    ],
)
def test_classes_are_those_of_the_column(values: Any, classes: list[str], codes: list[int]) -> None:
    adata = table(values)
    labels = Labels.of(adata, "type")
    assert labels.classes == classes
    found = labels.codes(adata.obs)
    assert found.dtype == torch.int64
    assert found.tolist() == codes


def test_ignored_values_are_no_class() -> None:
    adata = table(["b", "unknown", "a"])
    labels = Labels.of(adata, "type", ignored=["unknown"])
    assert labels.classes == ["a", "b"]
    assert labels.codes(adata.obs).tolist() == [1, -1, 0]
    again = from_config(labels.config())
    assert again.codes(adata.obs).tolist() == [1, -1, 0]


def test_category_codes_of_other_data_do_not_matter() -> None:
    other = table(pd.Categorical(["b", "b"], categories=["b", "z"]))
    assert TWO.codes(other.obs).tolist() == [1, 1]


def test_bad_labels_are_one_error() -> None:
    with pytest.raises(DataError, match=r"unknown class 'c' at row 1 \('o1'\).*'a', 'b'"):
        TWO.codes(table(["a", "c"]).obs)
    with pytest.raises(UnknownName, match="other"):
        Labels.of(table(["a"]), "other")
    with pytest.raises(DataError, match="'type' has no value"):
        Labels.of(table([None, "nan", "unknown"]), "type", ignored=["unknown"])
    with pytest.raises(DataError, match="give a list"):
        Labels.of(table(["a", "b"]), "type", ignored="unknown")
    with pytest.raises(ValueError, match="each once"):
        Labels("type", ["a", "a"])


def test_components_beyond_the_classes_have_names_of_their_own() -> None:
    assert TWO.names(4) == ["a", "b", "unknown 1", "unknown 2"]
    assert Labels("type", ["a", "unknown 1"]).names(3) == ["a", "unknown 1", "unknown 2"]


def test_a_component_for_each_class_by_default() -> None:
    for kind in (VAE, GMVAE, CountGMVAE):
        model = kind(7, labels=TWO)
        assert isinstance(model.prior, GaussianMixture)
        assert model.prior.n_components == 2
    assert VAE(7).labels is None
    again = from_config(GMVAE(7, GaussianMixture(2, 5), labels=TWO).config())
    assert again.labels.classes == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prior": StandardNormal(2)}, "need a mixture prior.*not StandardNormal"),
        ({"prior": GaussianMixture(2, 1)}, "n_components is 1.*a, b"),
        ({"labels": Labels("type", ["a"])}, "n_components is 1.*2 or more"),
        ({"labels": "type"}, r"labels is 'type'.*Labels.of"),
        ({"covariates": Covariates([Factor("type", ["a", "b"])])}, "a covariate and the label"),
    ],
)
def test_models_that_labels_do_not_go_with(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        VAE(7, **({"labels": TWO} | arguments))


def test_no_joint_guide() -> None:
    model = GMVAE(7, GaussianMixture(2, 3), labels=TWO)
    with pytest.raises(IncompatiblePairError, match="joint"):
        guide_for(model, "joint")
    with pytest.raises(IncompatiblePairError, match="does not fit"):
        JointGuide(7, 2, 3).check(model)


def test_the_joint_probability_is_not_normalised() -> None:
    weights = torch.tensor([0.2, 0.3, 0.5])
    known = KnownComponent(dist.Categorical(weights), torch.tensor([-1, 2, 0]))
    found = known.log_prob(known.enumerate_support(expand=False)).exp()
    expected = [[0.2, 0.0, 0.2], [0.3, 0.0, 0.0], [0.5, 0.5, 0.0]]
    torch.testing.assert_close(found, torch.tensor(expected))
    drawn = known.expand((100, 3)).sample()
    assert (drawn[:, 1] == 2).all()
    assert (drawn[:, 2] == 0).all()
    assert drawn[:, 0].unique().numel() == 3


class OwnMixture(MixturePrior):
    """A mixture from outside the package, that knows nothing of labels."""

    def __init__(self, n_latent: int = 2, n_components: int = 3) -> None:
        super().__init__()
        self.n_latent, self.n_components = n_latent, n_components
        self.centre = torch.nn.Parameter(torch.randn(n_components, n_latent))
        self.raw = torch.nn.Parameter(torch.randn(n_components))

    def components(self) -> tuple[Tensor, Tensor]:
        return self.centre, torch.ones_like(self.centre)

    def log_weights(self) -> Tensor:
        return self.raw.log_softmax(-1)


PRIORS: dict[str, Callable[[], MixturePrior]] = {
    "mixture": lambda: GaussianMixture(2, 3),
    "uniform": lambda: GaussianMixture(2, 3, weights="uniform"),
    "dirichlet": lambda: GaussianMixture(2, 3, concentration=0.7),
    "own": OwnMixture,
    "vamp": lambda: VampPrior(2, 3),
}


def a_pair(prior: str, guide: str = "marginal", spread: float = 1.0) -> tuple[VAE, Any]:
    """A pair in float64 far from its start."""
    model = GMVAE(4, PRIORS[prior](), Poisson(), MLPDecoder((5,), norm="layer"), labels=TWO)
    made: Any = guide_for(model, guide, Encoder((6,), norm="layer", dropout=0.0))
    with torch.no_grad():
        for module in (model.double(), made.double()):
            for parameter in module.parameters():
                if parameter.requires_grad:
                    parameter += 0.3 * spread * torch.randn_like(parameter)
    return model, made


@pytest.fixture
def labelled(batch_of: Callable[..., Batch]) -> Batch:
    """Five observations out of 20, of which two have no label."""
    counts = np.array([[0, 2, 0, 1], [2, 0, 0, 0], [0, 0, 0, 1], [1, 1, 3, 0], [0, 4, 2, 1]])
    batch = batch_of(counts, n_observations=20, dtype=torch.float64)
    return replace(batch, covariates={"type": torch.tensor([0, -1, 1, 1, -1])})


def by_hand(model: VAE, guide: Any, batch: Batch, z: Tensor, log_q: Tensor, weight: float) -> Any:
    """Minus the ELBO of the data set, each labelled observation with the density of its class."""
    prior: Any = model.prior
    loc, scale = prior.components()
    log_joint = dist.Normal(loc, scale).log_prob(z.unsqueeze(1)).sum(-1) + prior.log_weights()
    log_prior = torch.stack(
        [
            torch.logsumexp(row, 0) if code < 0 else row[code]
            for row, code in zip(log_joint, batch.covariates["type"].tolist(), strict=True)
        ]
    )
    rates = torch.softmax(model.decoder(z), -1) * batch.library[:, None]
    x = batch.counts.to_dense()
    log_x = (x * rates.log() - rates - torch.lgamma(x + 1)).sum(-1)
    elbo = 20 / 5 * (log_x + weight * (log_prior - log_q)).sum()
    if getattr(prior, "concentration", None) is not None:
        dirichlet = torch.distributions.Dirichlet(torch.full((3,), 0.7, dtype=torch.float64))
        elbo = elbo + dirichlet.log_prob(prior.log_weights().exp())
    return -elbo


@pytest.mark.parametrize("weight", [1.0, 0.25])
@pytest.mark.parametrize("prior", PRIORS)
def test_objective_and_gradient_against_brute_force(
    prior: str, weight: float, labelled: Batch
) -> None:
    model, guide = a_pair(prior)
    parameters = [p for part in (model, guide) for p in part.parameters() if p.requires_grad]
    torch.manual_seed(1)
    with KLWarmUp(4) if weight < 1 else nullcontext():
        loss: Any = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(model, guide, labelled)
    torch.manual_seed(1)
    loc, scale = guide.posterior(labelled.counts)
    z = loc + scale * torch.randn(5, 2, dtype=torch.float64)
    log_q = dist.Normal(loc, scale).log_prob(z).sum(-1)
    expected = by_hand(model, guide, labelled, z, log_q, weight)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for found, wanted in zip(
        torch.autograd.grad(loss, parameters, allow_unused=True),
        torch.autograd.grad(expected, parameters, allow_unused=True),
        strict=True,
    ):
        torch.testing.assert_close(found, wanted)


def test_a_label_far_from_its_component_leaves_a_finite_loss(labelled: Batch) -> None:
    model, guide = a_pair("mixture")
    with torch.no_grad():
        model.prior.loc[0] += 200.0  # e^-30,000 as likely as the others
    model.float(), guide.float()
    batch = replace(labelled, tables={"counts": replace_values(labelled)})
    loss: Any = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(model, guide, batch)
    loss.backward()
    assert 1e4 < loss.item() < 1e7
    assert model.prior.loc.grad[0].abs().min() > 1
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def replace_values(batch: Batch) -> Any:
    only = batch.tables["counts"]
    values = only.values.float()  # noqa: PD011 (a field of Table)
    return replace(only, values=values, library=only.library.float())


@pytest.mark.parametrize("guide", ["marginal", "full-covariance", "flow"])
def test_the_other_guides_see_the_same_objective(guide: str, labelled: Batch) -> None:
    model, made = a_pair("mixture", guide, spread=0.3)
    torch.manual_seed(1)
    drawn: Any = draw(model, made, labelled, 1)
    torch.manual_seed(1)
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(model, made, labelled)
    z = drawn.values["z"][0]  # noqa: PD011 (a field of Draws)
    log_q = drawn.log_guide["z"][0]
    with torch.no_grad():
        expected = by_hand(model, made, labelled, z, log_q, 1.0)
    assert loss == pytest.approx(expected.item(), rel=1e-9)
    parts = torch.stack(list(drawn.elbo_parts().values()))
    assert -20 / 5 * parts.sum().item() == pytest.approx(expected.item(), rel=1e-9)


def test_without_its_column_a_batch_has_no_labels(labelled: Batch) -> None:
    model, guide = a_pair("mixture")
    plain = GMVAE(4, GaussianMixture(2, 3), Poisson(), MLPDecoder((5,), norm="layer")).double()
    plain.load_state_dict(model.state_dict())
    batch = replace(labelled, covariates={})
    losses = []
    for each in (model, plain):
        torch.manual_seed(1)
        losses.append(TraceEnum_ELBO(max_plate_nesting=1).loss(each, guide, batch))
    assert losses[0] == losses[1]
    assert math.isfinite(losses[0])


def test_every_model_declares_whether_it_has_labels(model_kind: type[Model]) -> None:
    assert model_kind.labels is None
