"""Questions to models of several tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch

from tests.several_tables import SIZES, N, some_tables, three_modalities
from vae4counts.data import CountLoader, DataError, UnknownName
from vae4counts.data.counts.batch import Table
from vae4counts.data.counts.matrix import CountMatrix
from vae4counts.data.counts.tables import Tables
from vae4counts.data.counts.values import ValueMatrix
from vae4counts.guides import Encoder, Guide, ProductGuide, guide_for
from vae4counts.inference.interpretation import Interpretation
from vae4counts.inference.posterior.draws import draws_at
from vae4counts.models import MultiVAE
from vae4counts.models.priors import StandardNormal

FEATURES = [*(f"gene{j}" for j in range(5)), *(f"ab{j}" for j in range(3)), "cpg0", "cpg1"]


@pytest.fixture(params=["observed", "latent"])
def look(request: pytest.FixtureRequest) -> Interpretation:
    """A pair whose library sizes are given or left out, or latent in two tables."""
    torch.manual_seed(0)
    model = three_modalities(latent=request.param == "latent")
    for name, own in model.latent_libraries.items():
        own.initialise(some_tables().batch(torch.arange(N)).of_table(name))
    guide = guide_for(model, "product", Encoder((6,), norm="none", dropout=0.0))
    with torch.no_grad():
        for module in (model, guide):
            for parameter in module.parameters():
                parameter += 0.3 * torch.randn_like(parameter)
    obs = pd.DataFrame({"group": np.arange(N) % 3}, index=[f"cell{i}" for i in range(N)])
    return Interpretation(model.eval(), guide.eval(), some_tables(), FEATURES, obs)


def mean_of_first(table: Table) -> float:
    """The mean of a table's first feature."""
    return table.values.to_dense()[:, 0].mean().item()  # noqa: PD011 (a field of Table)


def widen(guide: Guide) -> None:
    """Let draws of latents come from wide Gaussians, whatever the values are."""
    assert isinstance(guide, ProductGuide)
    with torch.no_grad():
        guide.log_precision.fill_(-1.4)
        for head in (guide.together, *(expert.head for expert in guide.experts.values())):
            head.linear.weight.zero_()
            head.linear.bias.copy_(torch.tensor([0.0, 0.0, 9.0, 9.0]))
        for expert in guide.experts.values():
            if expert.library_head is not None:  # a standard deviation of 0.7 around the log total
                expert.library_head.head.linear.weight.zero_()
                expert.library_head.head.linear.bias.zero_()


def by_grid(look: Interpretation, of: str, given: str, row: int) -> np.ndarray:
    """E[x_of | x_given] of an observation, by a sum over a grid of z and of a latent library."""
    points = torch.linspace(-6, 6, 241)
    z = torch.cartesian_prod(points, points)
    model, batch = look.model, look.counts.batch(torch.tensor([row]))
    values = {own.site: torch.ones(len(z), 1) for own in model.latent_libraries.values()}
    values["z"] = z.unsqueeze(1)
    own = model.latent_libraries.get(given)
    with torch.no_grad():
        log_p = torch.full((len(z),), -torch.inf, dtype=torch.float64)
        # even steps of the log library size, which its density is not by
        for log_size in [0.0] if own is None else torch.linspace(-1, 5, 61).tolist():
            if own is not None:
                values[own.site] = torch.full((len(z), 1), np.exp(log_size))
            at = draws_at(model, batch.only([given]), values, len(z)).log_weights[:, 0]
            log_p = torch.logaddexp(log_p, at + log_size)
        weights = log_p.softmax(0)
        size = look.library_sizes()[[row], list(SIZES).index(of)]
        if (prior := model.latent_libraries.get(of)) is not None:
            size = (prior.loc + prior.scale**2 / 2).exp()  # the mean by the prior
        mean = model.given_latents(of, z, size.expand(len(z), 1), {}).mean
        return (weights @ mean.double()).numpy()


@pytest.mark.parametrize(
    ("of", "given"), [("protein", "rna"), ("methylation", "rna"), ("rna", "protein")]
)
def test_predictions_are_posterior_means(look: Interpretation, of: str, given: str) -> None:
    widen(look.guide)
    found = look.predict(of, [given], num_samples=20_000)
    assert list(found.mean.columns) == [FEATURES[j] for j in look.table_columns(of)]
    assert found.mean.notna().all(axis=None) == (given == "rna")
    for row in (0, 3, 10):
        wanted = by_grid(look, of, given, row)
        np.testing.assert_allclose(found.mean.iloc[row], wanted, rtol=0.05, atol=0.03)
    assert (found.effective_draws.dropna() > 0.01).all()


def test_a_prediction_does_not_look_at_what_it_predicts(look: Interpretation) -> None:
    before = look.predict("protein", ["rna"], num_samples=50).mean
    tables = some_tables()
    counts = tables.members["protein"]
    other = counts.subset(torch.arange(7, -1, -1))
    swapped = Interpretation(
        look.model,
        look.guide,
        type(tables)({**tables.members, "protein": other}, tables.positions, tables.covariates),
        FEATURES,
        look.obs,
    )
    pd.testing.assert_frame_equal(swapped.predict("protein", ["rna"], num_samples=50).mean, before)


def test_quantiles_and_draws_are_of_new_values(look: Interpretation) -> None:
    found = look.predict("protein", quantiles=[0.1, 0.5, 0.9], num_samples=400, keep_draws=True)
    assert found.draws is not None
    assert found.draws.shape == (400, N, 3)
    for q, table in found.quantiles.items():
        wanted = np.quantile(found.draws, q, axis=0)
        np.testing.assert_allclose(table.to_numpy(), wanted, atol=1e-4)
    low, high = found.quantiles[0.1], found.quantiles[0.9]
    assert (low <= high).all(axis=None)
    # Poisson noise comes on top of the uncertainty of the mean
    means = found.mean.to_numpy()
    assert (found.draws.var(0) > 0.8 * means).all()


@pytest.mark.filterwarnings("ignore:.*have no counts at all")
def test_intervals_of_predictions_cover() -> None:
    torch.manual_seed(3)
    model = three_modalities(StandardNormal(2), latent=True).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.5 * torch.randn_like(parameter)
    for own in model.latent_libraries.values():
        own.loc.fill_(4.0)
        own.scale.fill_(0.8)
    guide = guide_for(model, "product", Encoder((6,), norm="none")).eval()
    widen(guide)
    tables = some_tables().subset([1, 3, 6, 10] * 50)  # they have all tables
    batch = tables.batch(torch.arange(200))
    drawn = model.draw(batch, 1)
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(200)])
    members = {
        "rna": CountMatrix.from_scipy(drawn["rna"][0].numpy()),
        "protein": CountMatrix.from_scipy(drawn["protein"][0].numpy()),
        "methylation": ValueMatrix(drawn["methylation"][0]),
    }
    made = Tables(members, dict.fromkeys(members))
    look = Interpretation(model, guide, made, FEATURES, obs)
    found = look.predict("methylation", ["rna", "protein"], quantiles=[0.1, 0.9], num_samples=500)
    truth = drawn["methylation"][0].numpy()
    inside = (found.quantiles[0.1].to_numpy() <= truth) & (truth <= found.quantiles[0.9].to_numpy())
    # 400 values, of an expected share of 80 %
    assert 0.73 < inside.mean() < 0.87
    # so are counts whose library size only its prior tells of: a typical one covers 41 %
    found = look.predict("protein", ["rna"], quantiles=[0.1, 0.9], num_samples=500)
    truth = drawn["protein"][0].numpy()
    inside = (found.quantiles[0.1].to_numpy() <= truth) & (truth <= found.quantiles[0.9].to_numpy())
    assert 0.73 < inside.mean() < 0.87


def test_tables_that_are_not_there(look: Interpretation) -> None:
    with pytest.raises(UnknownName, match="no table 'proteins'"):
        look.predict("proteins")
    with pytest.raises(DataError, match="'rna' is to be predicted"):
        look.predict("rna", ["rna", "protein"])
    with pytest.raises(ValueError, match="quantile 2: it must be between 0 and 1"):
        look.predict("rna", quantiles=[2])


def test_what_else_across_tables(look: Interpretation) -> None:
    found = look.expected_given({"gene0": 3, "ab1": 0}, num_samples=4000)
    assert set(found.index) == set(FEATURES) - {"gene0", "ab1"}
    assert np.isfinite(found.loc[["gene1", "ab0"]].to_numpy()).all()


def test_every_look_inside_takes_several_tables(look: Interpretation) -> None:
    assert list(look.denoised().columns) == FEATURES
    profiles = look.component_profiles(library_size=50.0)
    assert list(profiles.index) == FEATURES
    for name in {"rna", *look.model.latent_libraries}:
        total = profiles.iloc[look.table_columns(name)].sum()
        np.testing.assert_allclose(total, 50, rtol=1e-5)
    assert np.isfinite(look.component_contrasts().to_numpy()).all()
    expression = look.differential_expression("group", 0, 1)
    assert set(expression.index) == set(FEATURES)
    assert np.isfinite(expression["lfc_mean"]).all()
    raw = expression.loc["ab0", "raw_mean1"]
    rows = [0, 3, 6]  # those of group 0 with proteins, of which 9 has none
    protein = some_tables().batch(torch.tensor(rows)).tables["protein"]
    assert raw == pytest.approx(mean_of_first(protein))
    shares = look.latent_shares()
    np.testing.assert_allclose(shares.sum(axis=0), 1)


def test_what_each_table_says(look: Interpretation) -> None:
    table = look.modality_table(num_samples=200)
    assert table["observations"].to_dict() == {"rna": 12, "protein": 8, "methylation": 6}
    assert (table["information"] > 0).all()
    batch = next(iter(CountLoader(look.counts, shuffle=False)))
    q = look.guide(batch)
    assert q.shape == (N, 2)
    assert ((table["agreement"] >= 0) & (table["agreement"] <= 1)).all()
    assert (table["entropy"] <= np.log(3)).all()


def test_a_latent_that_one_table_ignores_is_not_its_own(look: Interpretation) -> None:
    model = look.model
    assert isinstance(model, MultiVAE)
    with torch.no_grad():
        model.modalities["protein"].decoder.layers[0].weight[:, 0] = 0.0
    shares = look.latent_shares()
    assert shares.loc["z0", "protein"] == pytest.approx(0, abs=1e-10)
    assert shares.loc["z1", "protein"] == pytest.approx(1)
    assert shares.loc["z0", "rna"] > 0.01
