"""How many groups: simulated latents with a known number of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from vae4counts.data import CountMatrix, DataError
from vae4counts.inference.interpretation import Interpretation, NotInModelError
from vae4counts.inference.interpretation.how_many import how_many_groups
from vae4counts.models import GMVAE, CountMixture
from vae4counts.models.likelihoods import Poisson
from vae4counts.models.priors import GaussianMixture

Look = Callable[..., Interpretation]


CENTRES = np.array([[0.0, 0], [9, 0], [0, 14], [25, 10]])


class Known(Interpretation):
    """A view whose latents are known."""

    def points(self) -> torch.Tensor:
        random = np.random.default_rng(0)
        which = random.integers(0, 4, len(self.counts))
        return torch.as_tensor(random.normal(CENTRES[which]))


@pytest.fixture
def view(look: Look) -> Known:
    plain = look(GMVAE(6, GaussianMixture(2, 3), Poisson()))
    counts = CountMatrix.from_scipy(np.ones((1000, 6)))
    return Known(plain.model, plain.guide, counts, plain.features, plain.obs)


def test_four_groups(view: Known) -> None:
    found = how_many_groups(view, [2, 3, 4, 5, 8])
    assert list(found.index) == [1, 2, 3, 4, 5, 8]
    assert found["nats"].diff().loc[2:4].min() > 0.3
    assert abs(found["nats"].diff().loc[5]) < 0.05
    assert found["stability"].loc[:4].min() > 0.95
    assert found["stability"].loc[8] < 0.7
    assert found["overlap"].loc[4] < 0.01 < 0.05 < found["overlap"].loc[8]
    assert found["smallest"].loc[4] == pytest.approx(0.25, abs=0.04)


def test_the_gain_of_four_groups_by_the_true_densities(view: Known) -> None:
    z = view.points().numpy()
    parts = [stats.multivariate_normal(centre).pdf(z) for centre in CENTRES]
    one = stats.multivariate_normal(z.mean(0), np.cov(z.T)).logpdf(z)
    wanted = (np.log(np.mean(parts, 0)) - one).mean()
    assert how_many_groups(view, [4])["nats"].loc[4] == pytest.approx(wanted, abs=0.1)


def test_a_fitted_pair(look: Look) -> None:
    found = look(GMVAE(6, GaussianMixture(2, 3), Poisson())).how_many_groups([2, 3, 500])
    assert list(found.index) == [1, 2, 3]
    assert found.loc[1, "nats"] == 0
    assert np.isfinite(found.to_numpy()).all()


def test_models_and_data_without_groups(look: Look, view: Known) -> None:
    with pytest.raises(NotInModelError, match="no latent space"):
        look(CountMixture(6, 3, Poisson())).how_many_groups()
    with pytest.raises(DataError, match="among 10 or more"):
        replace(view, counts=view.counts.subset(torch.arange(5))).how_many_groups()
