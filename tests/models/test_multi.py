"""Models of several tables: against brute force, with observations that lack some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from pyro.poutine.messenger import Messenger
from scipy import stats

from tests.several_tables import SIZES, N, some_tables, three_modalities
from vae4counts.data import Batch
from vae4counts.data.counts.batch import spread
from vae4counts.guides import Encoder, ProductGuide, guide_for
from vae4counts.inference.posterior.draws import draw, draws_at
from vae4counts.models import (
    VAE,
    Covariates,
    Factor,
    Labels,
    Modality,
    MultiVAE,
    from_config,
    start_from_data,
)
from vae4counts.models.library import LatentLibrary
from vae4counts.models.likelihoods import Gaussian, NegativeBinomial, Poisson
from vae4counts.models.modality import OfRows
from vae4counts.models.priors import GaussianMixture, StandardNormal

SITE = Covariates([Factor("site", ["x", "y"])], combinations=[[0.5, 0], [0.5, 1]])


def plain(seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    return Encoder((6,), norm="none", dropout=0.0)


LIBRARIES = ("rna_library", "protein_library")
LATENT = pytest.mark.parametrize(
    ("latent", "covariates"), [(False, None), (False, SITE), (True, None), (True, SITE)]
)


def started(model: MultiVAE, batch: Batch) -> MultiVAE:
    """Start latent library sizes at those of data, with moments by site."""
    for name, own in model.latent_libraries.items():
        own.initialise(batch.of_table(name))
        if own.by is not None:
            own.loc += torch.tensor([0.3, -0.2])
            own.scale *= torch.tensor([1.5, 0.8])
    return model.eval()


def by_hand(model: MultiVAE, values: Mapping[str, torch.Tensor], row: int) -> dict[str, float]:
    """Log-probabilities of an observation's tables and library sizes, by SciPy."""
    z, site = values["z"][0, [row]], row % 2
    sizes = {name: each[0, row].item() for name, each in values.items() if name != "z"}
    found = {}
    for name in sizes:
        library = model.modalities[name.removesuffix("_library")].library
        loc, scale = library.loc.numpy(), library.scale.numpy()
        if loc.shape:
            loc, scale = loc[site], scale[site]
        found[name] = stats.lognorm(scale, scale=np.exp(loc)).logpdf(sizes[name])
    batch = some_tables().batch(torch.tensor([row]))
    for name, table in batch.tables.items():
        if not len(table.values):
            continue
        modality = model.modalities[name]
        x = table.values.to_dense()[0].numpy()
        inputs = model.covariates.beside(z, batch.covariates)
        outputs = modality.decoder(inputs)[0].detach()
        size = sizes.get(f"{name}_library", x.sum() if name == "rna" else None)
        if name == "rna":
            mean = (outputs.softmax(-1) * size).numpy()
            r = modality.likelihood(outputs[None], torch.tensor([[1.0]])).parameters[1]
            r = r.detach().numpy().ravel()
            found[name] = stats.nbinom(r, r / (r + mean)).logpmf(x).sum()
        elif name == "protein":
            mean = outputs.exp() if size is None else outputs.softmax(-1) * size
            found[name] = stats.poisson(mean.numpy()).logpmf(x).sum()
        else:
            scale = modality.likelihood(outputs[None], None).parameters[1].detach().numpy().ravel()
            values = stats.norm(outputs.numpy(), scale).logpdf(x)
            found[name] = np.nansum(values)
    return found


@LATENT
def test_log_probabilities_are_those_of_scipy_and_absent_rows_have_none(
    latent: bool, covariates: Covariates | None
) -> None:
    batch = some_tables().batch(torch.arange(N))
    model = started(three_modalities(covariates=covariates, latent=latent), batch)
    values = {"z": torch.randn(1, N, 2)}
    if latent:
        values |= {name: torch.rand(1, N) * 20 + 1 for name in LIBRARIES}
    scored = draws_at(model, batch, values, 1).log_model
    for row in range(N):
        wanted = by_hand(model, values, row)
        for name in (*SIZES, *values.keys() - {"z"}):
            assert scored[name][0, row].item() == pytest.approx(wanted.get(name, 0.0), abs=1e-4)


def test_rate_scores_are_differences_of_log_probabilities() -> None:
    """By SciPy; log2 rates are 1.44 per unit of a decoder's output, the methylation's spread 1."""
    model, step = three_modalities().eval(), 1e-2
    batch = some_tables().batch(torch.arange(N))
    z = torch.randn(N, 2)
    sizes = [
        torch.full((N,), torch.nan)
        if (library := batch.tables[name].library) is None
        else spread(library, batch.of_table(name).index, N)
        for name in SIZES
    ]
    scores = model.rate_scores(z, torch.stack(sizes, -1), batch)
    start = 0
    for name, size in SIZES.items():
        bias = model.modalities[name].decoder.output.bias.data
        unit = 1.0 if name == "methylation" else 1 / np.log(2)
        for feature in range(size):
            found = []
            for side in (step, -step):
                bias[feature] += side
                drawn = {"z": z.unsqueeze(0)}
                found.append([by_hand(model, drawn, i).get(name, 0.0) for i in range(N)])
                bias[feature] -= side
            wanted = np.subtract(*found) / (2 * step) / unit
            np.testing.assert_allclose(scores[:, start + feature], wanted, rtol=0.01, atol=0.01)
        start += size


@pytest.mark.parametrize("covariates", [None, SITE])
def test_of_an_absent_table_the_library_size_has_its_prior(covariates: Covariates | None) -> None:
    tables = some_tables()
    batch = tables.batch(torch.arange(N))
    model = started(three_modalities(covariates=covariates, latent=True), batch)
    guide = guide_for(model, "product", plain()).eval()
    draws = draw(model, guide, batch, 500)
    assert set(LIBRARIES) <= draws.values.keys()
    protein = draws.elbo_parts()["protein_library"]
    has = tables.present["protein"]
    assert not protein[~has].any()
    assert (protein[has] != 0).all()
    assert (draws.elbo_parts()["rna_library"] != 0).all()
    logs = draws.values["protein_library"][:, ~has].log()
    loc, scale = model.modalities["protein"].library.log_moments(batch)
    error = (logs.mean(0) - loc.expand(N)[~has]) / scale.expand(N)[~has]
    assert error.abs().max() < 5 / 500**0.5
    # what the model does not hold is not decoded
    without = draws_at(model, batch.only(["methylation"]), draws.values, 500).log_model
    assert not without["rna"].any()
    torch.testing.assert_close(without["rna_library"], draws.log_model["rna_library"])


@LATENT
def test_elbo_and_gradients_are_those_of_each_observation_alone(
    latent: bool, covariates: Covariates | None
) -> None:
    model = three_modalities(covariates=covariates, latent=latent).double()
    guide = guide_for(model, "product", plain()).double()
    tables = some_tables()
    parameters = [*model.parameters(), *guide.parameters()]
    elbo = TraceEnum_ELBO(max_plate_nesting=1)

    def loss(rows: list[int]) -> torch.Tensor:
        # the same noise for an observation, whatever the batch
        noise = torch.randn(N, 4, generator=torch.Generator().manual_seed(1)).double()[rows]
        batch = _double(tables.batch(torch.tensor(rows)))
        with _GivenNoise(noise):
            return elbo.differentiable_loss(model, guide, batch)

    together = loss(list(range(N)))
    gradients = torch.autograd.grad(together, parameters, allow_unused=True)
    # a batch of one estimates the whole data set's ELBO by itself, N times over
    alone = torch.stack([loss([row]) / N for row in range(N)]).sum()
    torch.testing.assert_close(alone, together)
    for one, other in zip(
        torch.autograd.grad(alone, parameters, allow_unused=True), gradients, strict=True
    ):
        assert one is not None
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("latent", [False, True])
def test_a_table_left_out_is_a_table_that_no_observation_has(latent: bool) -> None:
    model = three_modalities(latent=latent).eval()
    guide = guide_for(model, "product", plain()).eval()
    tables = some_tables()
    batch = tables.batch(torch.arange(N))
    never = tables.subset([5, 11])  # they have rna alone
    with_rows = {
        name: len(table.values) for name, table in never.batch(torch.arange(2)).tables.items()
    }
    assert with_rows == {"rna": 2, "protein": 0, "methylation": 0}
    for rows in (batch.only(["rna"]), batch):
        torch.manual_seed(3)
        draws = draw(model, guide, rows, 4)
        assert draws.log_weights.isfinite().all()
    torch.manual_seed(3)
    one = draw(model, guide, never.batch(torch.arange(2)), 4)
    torch.manual_seed(3)
    other = draw(model, guide, never.only(["rna"]).batch(torch.arange(2)), 4)
    torch.testing.assert_close(one.log_weights, other.log_weights)


def test_vae_is_the_case_of_one_table() -> None:
    torch.manual_seed(0)
    vae = VAE(5, GaussianMixture(2, 3), NegativeBinomial())
    torch.manual_seed(0)
    multi = MultiVAE({"counts": Modality(5, NegativeBinomial())}, GaussianMixture(2, 3))
    state = multi.state_dict()
    assert list(state) == list(vae.state_dict())
    for name, value in vae.state_dict().items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0, equal_nan=True)
    assert vae.tables == ("counts",)
    assert vae.decoder is vae.counts.decoder


@LATENT
def test_description_builds_an_equal_model_and_guide(
    latent: bool, covariates: Covariates | None
) -> None:
    model = three_modalities(covariates=covariates, latent=latent)
    guide = guide_for(model, "product")
    again, guide_again = from_config(model.config()), from_config(guide.config())
    assert again.config() == model.config()
    assert list(again.state_dict()) == list(model.state_dict())
    assert isinstance(guide_again, ProductGuide)
    guide_again.check(again)
    assert again.anew().config() == model.config()


def test_what_a_model_of_several_tables_declares() -> None:
    model = three_modalities()
    assert model.tables == ("rna", "protein", "methylation")
    assert dict(model.table_sizes) == SIZES
    assert model.n_features == 10
    assert not model.holds_counts
    assert model.given_library
    assert dict(model.encoder_inputs) == {
        "rna": "log1p",
        "protein": "log1p",
        "methylation": "standardised",
    }


def test_starts_look_at_the_observations_that_have_each_table() -> None:
    model = three_modalities()
    guide = guide_for(model, "product")
    batch = some_tables().batch(torch.arange(N))
    start_from_data(model, batch)
    start_from_data(guide, batch)
    values = batch.tables["methylation"].values
    modality = model.modalities["methylation"]
    start = modality.likelihood(modality.decoder.output.bias, None).mean
    torch.testing.assert_close(start, values.nanmean(0), atol=1e-5, rtol=0)
    scaling = guide.experts["methylation"].encoder.inputs
    torch.testing.assert_close(scaling.mean, values.nanmean(0), atol=1e-5, rtol=0)


def test_rates_are_those_of_all_tables_one_after_the_other() -> None:
    model = three_modalities().eval()
    z = torch.randn(4, 2)
    sizes = torch.tensor([[7.0, 1.0, 1.0]]).expand(4, -1)
    rates = model.rates(z, sizes)
    assert rates.shape == (4, 10)
    torch.testing.assert_close(rates[:, :5].sum(-1), torch.full((4,), 7.0))
    protein = model.modalities["protein"].decoder(z).exp()
    torch.testing.assert_close(rates[:, 5:8], protein)
    torch.testing.assert_close(rates[:, 8:], model.modalities["methylation"].decoder(z))
    given = model.given_latents("rna", z, sizes[:, :1], {})
    torch.testing.assert_close(given.mean, rates[:, :5])


def test_linear_loadings_of_all_tables_flip_together() -> None:
    model = MultiVAE(
        {"rna": Modality(5, decoder="linear"), "protein": Modality(3, Poisson(), "linear", None)},
        StandardNormal(2),
    )
    before = model.loadings()
    assert before is not None
    assert before.shape == (8, 2)
    torch.testing.assert_close(before[:5].mean(0), torch.zeros(2), atol=1e-6, rtol=0)
    assert model.flips
    with torch.no_grad():
        model.flip(torch.tensor([1.0, -1.0]))
    after = model.loadings()
    assert after is not None
    torch.testing.assert_close(after, before * torch.tensor([1.0, -1.0]))


def test_draws_of_observations_that_lack_a_table_are_missing() -> None:
    model = three_modalities().eval()
    drawn = model.draw(some_tables().batch(torch.arange(N)), 3)
    assert drawn["rna"].shape == (3, N, 5)
    assert drawn["rna"].isfinite().all()
    lacks = torch.tensor([4, 5, 9, 11])
    assert drawn["protein"][:, lacks].isnan().all()
    assert drawn["protein"].isnan().sum() == 3 * 4 * 3


def test_distribution_of_some_rows_expands() -> None:
    base = torch.distributions.Independent(torch.distributions.Normal(torch.zeros(2, 3), 1.0), 1)
    rows = OfRows(base, torch.tensor([0, 3]), 4)
    values = torch.randn(2, 3)
    wider = rows.expand(torch.Size([5, 4]))
    assert wider.batch_shape == (5, 4)
    torch.testing.assert_close(wider.log_prob(values)[2], rows.log_prob(values))
    assert rows.log_prob(values)[1] == 0


@pytest.mark.parametrize("name", ["", "a.b", "z", "component", "keys", "type"])
def test_names_that_no_site_can_have(name: str) -> None:
    with pytest.raises(ValueError, match="a modality cannot be called"):
        MultiVAE({name: Modality(3)})


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="there is no modality"):
        MultiVAE({})
    with pytest.raises(ValueError, match="give an object such as Modality"):
        MultiVAE({"rna": NegativeBinomial()})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="two sites of the model are called 'rna_library'"):
        MultiVAE({"rna": Modality(3, library="latent"), "rna_library": Modality(2)})
    size = LatentLibrary()
    with pytest.raises(ValueError, match="LatentLibrary is part of another model"):
        MultiVAE({"a": Modality(3, library=size), "b": Modality(2, library=size)})
    with pytest.raises(ValueError, match="not counts and have no total"):
        Modality(3, Gaussian(), library="observed")
    shared = Modality(3)
    with pytest.raises(ValueError, match="part of another model"):
        MultiVAE({"a": shared, "b": shared})


def test_each_table_has_latents_in_the_prior_that_is_made_where_none_is_given() -> None:
    sizes = {"rna": 4, "protein": 3, "methylation": 2}
    labels = Labels("type", ["A", "B", "C"])
    for n in (1, 3):
        modalities = {name: Modality(size) for name, size in list(sizes.items())[:n]}
        assert MultiVAE(modalities).n_latent == 10 * n
        modalities = {name: Modality(size) for name, size in list(sizes.items())[:n]}
        labelled = MultiVAE(modalities, labels=labels)
        assert labelled.n_latent == 10 * n
        assert labelled.prior.mixture is not None
        assert labelled.prior.mixture.n_components == 3


class _GivenNoise(Messenger):
    """A handler that draws latents with given noise, so that it does not depend on the batch."""

    def __init__(self, noise: torch.Tensor) -> None:
        super().__init__()
        self.noise = noise

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        if message["type"] == "sample" and message["value"] is None:
            name, given = message["name"], message["fn"]
            if name == "z":
                message["value"] = given.base_dist.loc + given.base_dist.scale * self.noise[:, :2]
            elif name in LIBRARIES:
                noise = self.noise[:, 2 + LIBRARIES.index(name)]
                message["value"] = (given.loc + given.scale * noise).exp()


def _double(batch: Batch) -> Batch:
    """The batch in float64."""
    tables = {
        name: replace(
            table,
            values=table.values.double(),
            library=None if table.library is None else table.library.double(),
        )
        for name, table in batch.tables.items()
    }
    return replace(batch, tables=tables)
