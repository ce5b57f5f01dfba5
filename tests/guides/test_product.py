"""The product of experts: against products of densities, with observations that lack tables."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor

from tests.several_tables import N, some_tables, three_modalities
from vae4counts.data import Batch
from vae4counts.guides import Encoder, Expert, IncompatiblePairError, ProductGuide, guide_for
from vae4counts.guides.product import Opinion, product
from vae4counts.models import VAE, CountVAE, Covariates, from_config
from vae4counts.models.covariates import Number
from vae4counts.models.priors import VampPrior


def q_of_z(guide: ProductGuide, batch: Batch) -> Any:
    trace: Any = poutine.trace(guide).get_trace(batch)
    return trace.nodes["z"]["fn"].base_dist


@pytest.fixture
def guide() -> ProductGuide:
    made = guide_for(three_modalities(), "product", Encoder((6,)))
    assert isinstance(made, ProductGuide)
    with torch.no_grad():
        made.log_precision.copy_(torch.tensor([0.5, -0.3]))
    return made.eval()


def test_product_is_that_of_the_densities() -> None:
    loc, scale = torch.randn(3, 4, 2), torch.rand(3, 4, 2) + 0.3
    found = product(
        Opinion(s**-2, m * s**-2) for m, s in zip(loc.unbind(), scale.unbind(), strict=True)
    )
    z, other = torch.randn(2, 4, 2).unbind()

    def log_densities(at: Tensor) -> Tensor:
        return torch.distributions.Normal(loc, scale).log_prob(at).sum(0)

    # equal up to a constant
    difference = found.log_prob(z) - found.log_prob(other)
    torch.testing.assert_close(difference, log_densities(z) - log_densities(other))


def test_an_absent_table_has_no_say(guide: ProductGuide) -> None:
    tables = some_tables()
    whole = q_of_z(guide, tables.batch(torch.arange(N)))
    for row in range(N):
        alone = tables.batch(torch.tensor([row]))
        held = [name for name, table in alone.tables.items() if len(table.values)]
        q = q_of_z(guide, alone.only(held))
        torch.testing.assert_close(q.loc[0], whole.loc[row])
        torch.testing.assert_close(q.scale[0], whole.scale[row])


def test_what_all_tables_say_together_is_for_observations_that_have_all(
    guide: ProductGuide,
) -> None:
    tables = some_tables()
    batch = tables.batch(torch.arange(N))
    before = q_of_z(guide, batch)
    assert guide.together is not None
    with torch.no_grad():
        guide.together.linear.bias += 1.0
    after = q_of_z(guide, batch)
    changed = (after.loc != before.loc).any(1)
    has_all = torch.stack(list(tables.present.values())).all(0)
    assert changed.tolist() == has_all.tolist()


def test_without_a_table_the_first_factor_is_left(guide: ProductGuide) -> None:
    q = q_of_z(guide, some_tables().batch(torch.arange(N)).only([]))
    torch.testing.assert_close(q.scale, torch.exp(-guide.log_precision / 2).expand(N, 2))
    assert not q.loc.any()


def test_flips(guide: ProductGuide) -> None:
    batch = some_tables().batch(torch.arange(N))
    before = q_of_z(guide, batch)
    guide.flip(torch.tensor([-1.0, 1.0]))
    after = q_of_z(guide, batch)
    torch.testing.assert_close(after.loc, before.loc * torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(after.scale, before.scale)


def test_it_is_the_default_of_several_tables_alone() -> None:
    assert isinstance(guide_for(three_modalities()), ProductGuide)
    assert not isinstance(guide_for(VAE(5)), ProductGuide)
    with pytest.raises(IncompatiblePairError, match="does not fit"):
        guide_for(three_modalities(), "marginal")
    with pytest.raises(IncompatiblePairError, match="does not fit"):
        guide_for(CountVAE(5), "product")  # its library size is left to the guide


def test_a_latent_library_size_is_read_off_the_expert_of_its_table() -> None:
    model = three_modalities(latent=True)
    guide = guide_for(model, "product", Encoder((6,), norm="none")).eval()
    assert isinstance(guide, ProductGuide)
    assert guide.sites == ("rna_library", "protein_library", "z")
    tables = some_tables()
    batch = tables.batch(torch.arange(N))
    whole: Any = poutine.trace(guide).get_trace(batch)
    own: Any = poutine.trace(guide).get_trace(batch.only(["protein"]))
    has = tables.present["protein"]
    for part in ("loc", "scale"):
        protein = [getattr(each.nodes["protein_library"]["fn"], part) for each in (whole, own)]
        assert protein[0].equal(protein[1])
        prior = getattr(model.modalities["protein"].library, part)
        assert protein[0][~has].equal(prior.expand(4))
        assert (protein[0][has] != prior).all()
        absent = getattr(own.nodes["rna_library"]["fn"], part)
        assert absent.equal(getattr(model.modalities["rna"].library, part).expand(N))
    expert = guide.experts["protein"]
    features = expert.encoder(batch.tables["protein"].values, {})
    deviation, scale = expert.library_head.head(features)
    found = whole.nodes["protein_library"]["fn"]
    wanted = batch.tables["protein"].library.log() + deviation.squeeze(-1)
    torch.testing.assert_close(found.loc[has], wanted)
    torch.testing.assert_close(found.scale[has], scale.squeeze(-1))


def test_library_sizes_must_be_latent_in_both() -> None:
    model = three_modalities(latent=True)
    guide = guide_for(model, "product")
    with pytest.raises(
        IncompatiblePairError, match=r"made for latent_library=\['rna', 'protein'\]"
    ):
        guide.check(three_modalities())
    again = from_config(guide.config())
    again.check(model)
    with pytest.raises(RuntimeError, match="does not know the priors of library sizes"):
        again(some_tables().batch(torch.arange(N)))
    again.attach(model)
    again(some_tables().batch(torch.arange(N)))
    assert not any("librar" in name and "head" not in name for name in again.state_dict())


def test_sizes_must_be_those_of_the_model(guide: ProductGuide) -> None:
    model = three_modalities()
    guide.check(model)
    other = ProductGuide({"rna": Expert(5), "protein": Expert(4), "methylation": Expert(2)}, 2)
    with pytest.raises(IncompatiblePairError, match="made for n_features="):
        other.check(model)
    with pytest.raises(ValueError, match="there is no expert"):
        ProductGuide({}, 2)


def test_a_prior_made_of_posteriors_needs_counts() -> None:
    with pytest.raises(ValueError, match="made of inputs like counts, which not all values"):
        three_modalities(VampPrior(2, 3))


def test_all_experts_learn_the_scales_of_covariates() -> None:
    encoder = Encoder((6,), covariates=Covariates([], [Number("age")]))
    guide = guide_for(three_modalities(), "product", encoder)
    assert isinstance(guide, ProductGuide)
    guide.learn_covariates({"age": torch.tensor([1.0, 5.0])})
    for expert in guide.experts.values():
        (age,) = expert.encoder.covariates.numbers
        assert (age.mean, age.deviation) == (3.0, 2.0)
    experts = {
        name: Expert(3, Encoder((6,), covariates=Covariates([], [Number(name)])))
        for name in ("age", "dose")
    }
    with pytest.raises(ValueError, match=r"different covariates \(age and dose\)"):
        ProductGuide(experts, 2)
