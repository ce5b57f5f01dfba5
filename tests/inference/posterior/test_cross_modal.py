"""One table given others: against a closed form, and what is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from tests.several_tables import N, some_tables, three_modalities
from vae4counts.data import CountLoader, DataError, UnknownName
from vae4counts.data.counts.tables import Tables
from vae4counts.data.counts.values import ValueMatrix
from vae4counts.guides import Encoder, Guide, ProductGuide, guide_for
from vae4counts.inference.posterior.cross_modal import conditional_log_likelihoods
from vae4counts.inference.posterior.refined_posteriors import RefinedPosteriors
from vae4counts.models import Modality, MultiVAE
from vae4counts.models.likelihoods import Gaussian
from vae4counts.models.priors import StandardNormal


def gaussians() -> tuple[MultiVAE, np.ndarray, np.ndarray]:
    """A model of two tables with linear Gaussian decoders: all its marginals are known.

    Returns:
        The model, and the mean and covariance of both tables side by side.
    """
    torch.manual_seed(1)
    model = MultiVAE(
        {name: Modality(size, Gaussian(), "linear") for name, size in (("a", 3), ("b", 2))},
        StandardNormal(2),
    )
    weight = torch.cat([m.decoder.output.weight for m in model.modalities.values()])
    bias = torch.cat([m.decoder.output.bias for m in model.modalities.values()])
    with torch.no_grad():
        for modality in model.modalities.values():
            modality.likelihood.own["scale"].fill_(-0.5)
            modality.decoder.output.weight.mul_(1.5)
    weight = torch.cat([m.decoder.output.weight for m in model.modalities.values()])
    covariance = weight @ weight.T + torch.eye(5) * np.exp(-0.5) ** 2
    return model.eval(), bias.detach().numpy(), covariance.detach().numpy()


def heads(guide: Guide) -> list[Any]:
    """All that the guide's Gaussians are read off by."""
    assert isinstance(guide, ProductGuide)
    return [guide.together, *(expert.head for expert in guide.experts.values())]


def test_both_ways_are_the_conditional_density_of_a_linear_gaussian_model() -> None:
    model, mean, covariance = gaussians()
    random = np.random.default_rng(0)
    x = random.multivariate_normal(mean, covariance, 20).astype(np.float32)
    x[0, 1] = np.nan
    a, b = (ValueMatrix(torch.from_numpy(part)) for part in (x[:, :3], x[:, 3:]))
    tables = Tables({"a": a, "b": b}, {"a": None, "b": None})
    guide = guide_for(model, "product", Encoder((4,), norm="none")).eval()
    for head in heads(guide):  # wide: draws are nearly from the prior
        head.linear.weight.data.zero_()
        head.linear.bias.data.copy_(torch.tensor([0.0, 0.0, 3.0, 3.0]))
    found = conditional_log_likelihoods(
        model, lambda _: guide, CountLoader(tables, shuffle=False, batch_size=7), "b", ["a"], 20_000
    )
    for row in range(20):
        known = np.flatnonzero(~np.isnan(x[row, :3]))
        joint = np.array([*known, 3, 4])
        both = stats.multivariate_normal(mean[joint], covariance[np.ix_(joint, joint)])
        given = stats.multivariate_normal(mean[known], covariance[np.ix_(known, known)])
        wanted = both.logpdf(x[row, joint]) - given.logpdf(x[row, known])
        assert found["log_likelihood"][row] == pytest.approx(wanted, abs=0.1)
        assert found["by_difference"][row] == pytest.approx(wanted, abs=0.1)
        own = stats.multivariate_normal(mean[3:], covariance[3:, 3:]).logpdf(x[row, 3:])
        assert found["marginal"][row] == pytest.approx(own, abs=0.1)
    assert found["log_likelihood"].mean() > found["marginal"].mean()
    assert (found["tokens"] == 1).all()


def test_refined_posteriors_given_each_subset_measure_the_model_and_not_the_guide() -> None:
    model, mean, covariance = gaussians()
    random = np.random.default_rng(2)
    x = random.multivariate_normal(mean, covariance, 12).astype(np.float32)
    members = {
        "a": ValueMatrix(torch.from_numpy(x[:, :3])),
        "b": ValueMatrix(torch.from_numpy(x[:, 3:])),
    }
    has_b = torch.tensor([0, 1, 2, 3, -1, 5, 6, 7, 8, 9, 10, 11])
    tables = Tables(members, {"a": None, "b": has_b})
    guide = guide_for(model, "product", Encoder((4,), norm="none")).eval()
    for head in heads(guide):  # far from the posteriors, and narrow
        head.linear.weight.data.zero_()
        head.linear.bias.data.copy_(torch.tensor([3.0, -3.0, -2.0, -2.0]))

    def refined(names: Sequence[str]) -> Guide:
        return RefinedPosteriors(model, guide, tables.only(names), "", 0, progress=False).guide()

    batches = CountLoader(tables, shuffle=False, batch_size=5)
    found = conditional_log_likelihoods(model, refined, batches, "b", ["a"], 300)
    both, given = (stats.multivariate_normal(mean[:n], covariance[:n, :n]) for n in (5, 3))
    wanted = both.logpdf(x) - given.logpdf(x[:, :3])
    wanted[4] = np.nan
    assert found["by_difference"] == pytest.approx(wanted, abs=0.05, nan_ok=True)
    assert np.nanmax(found["difference_pareto_k"]) < 0.7
    with pytest.warns(UserWarning, match="nats by weighted draws"):
        unrefined = conditional_log_likelihoods(model, lambda _: guide, batches, "b", ["a"], 300)
    assert np.nanmean(np.abs(unrefined["by_difference"] - wanted)) > 0.5


def test_observations_without_both_have_none() -> None:
    model = three_modalities().eval()
    guide = guide_for(model, "product", Encoder((4,))).eval()
    batches = CountLoader(some_tables(), shuffle=False, batch_size=5)
    with pytest.warns(UserWarning, match=r"log p\(methylation \| protein\) is .* as a difference"):
        found = conditional_log_likelihoods(
            model, lambda _: guide, batches, "methylation", ["protein"], 100
        )
    both = [1, 3, 6, 10]
    assert np.flatnonzero(np.isfinite(found["log_likelihood"])).tolist() == both
    assert np.flatnonzero(np.isfinite(found["by_difference"])).tolist() == both
    assert len(found["log_likelihood"]) == N


def test_mistakes() -> None:
    model = three_modalities().eval()
    guide = guide_for(model, "product").eval()
    batches = CountLoader(some_tables(), shuffle=False)
    with pytest.raises(UnknownName, match=r"no table 'proteins'\. Did you mean 'protein'"):
        conditional_log_likelihoods(model, lambda _: guide, batches, "proteins", ["rna"])
    with pytest.raises(DataError, match="give other tables, which are 'rna', 'methylation'"):
        conditional_log_likelihoods(model, lambda _: guide, batches, "protein", [])
    with pytest.raises(DataError, match="'rna' is to be predicted"):
        conditional_log_likelihoods(model, lambda _: guide, batches, "rna", ["rna"])
    with pytest.raises(ValueError, match="must be 100 or more"):
        conditional_log_likelihoods(model, lambda _: guide, batches, "rna", ["protein"], 9)
    lacking = CountLoader(some_tables().subset([5, 11]), shuffle=False)
    with pytest.raises(DataError, match="no observation has both 'methylation' and 'protein'"):
        conditional_log_likelihoods(
            model, lambda _: guide, lacking, "methylation", ["protein"], 100
        )
