"""Draws of models with several enumerated sites, against sums over all their states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO
from scipy import stats
from torch import Tensor

from vae4counts.data import Batch
from vae4counts.data.counts.batch import Table
from vae4counts.guides import Encoder, ExactGuide, Guide
from vae4counts.inference.posterior.draws import Draws, draw, draw_latents
from vae4counts.models import Latent, Model, observations
from vae4counts.models.likelihoods import PoissonCounts

PARALLEL = {"enumerate": "parallel"}
STATES = {"kind": 2, "stage": 3, "doublet": 2}
COUNTS = torch.tensor([[2.0, 0, 1, 0], [0, 3, 0, 1], [1, 1, 4, 2]], dtype=torch.float64)


class Cells(Model):
    """Counts that depend on a kind of two, a stage of three, and on whether a cell is a doublet.

    Args:
        dependent: Whether the stage depends on the kind, and the doublet on both.
        doublets: Whether there are doublets; no cell is one otherwise.
    """

    numbers_per_draw = 24
    n_features = 4

    def __init__(self, dependent: bool, doublets: bool) -> None:
        super().__init__()
        self.dependent, self.doublets = dependent, doublets
        generator = torch.Generator().manual_seed(5)

        def table(*shape: int) -> Tensor:
            return torch.rand(shape, generator=generator, dtype=torch.float64)

        self.kinds, self.stages = table(2), table(2, 3)
        self.shares = 0.2 + 0.6 * table(2, 3)
        self.rates = 4 * table(2, 3, 4) ** 2 + 0.1
        self.stages[1] = self.stages[1] if dependent else self.stages[0]
        if not dependent:
            self.shares[:] = self.shares[0, 0]

    @property
    def latents(self) -> Sequence[Latent]:
        names = STATES if self.doublets else list(STATES)[:2]
        return tuple(Latent(name, states=STATES[name]) for name in names)

    def forward(self, batch: Batch) -> Tensor:
        with observations(batch):
            kind = pyro.sample("kind", dist.Categorical(self.kinds), infer=PARALLEL)
            stage = pyro.sample("stage", dist.Categorical(self.stages[kind]), infer=PARALLEL)
            rates = self.rates[kind, stage]
            if self.doublets:
                share = self.shares[kind, stage]
                doublet = pyro.sample("doublet", dist.Bernoulli(share), infer=PARALLEL)
                rates = rates * (1 + doublet.unsqueeze(-1))
            return pyro.sample("counts", PoissonCounts(rates), obs=batch.counts)

    def log_joint(self) -> Tensor:
        """Return log p(kind, stage, doublet, counts), ``(2, 3, 2, B)``, state by state."""
        log_joint = torch.full((2, 3, 2, len(COUNTS)), -torch.inf, dtype=torch.float64)
        for kind, stage, doublet in product(range(2), range(3), range(2 if self.doublets else 1)):
            share = self.shares[kind, stage] if self.doublets else torch.tensor(0.0)
            states = [
                self.kinds[kind] / self.kinds.sum(),
                self.stages[kind, stage] / self.stages[kind].sum(),
                share if doublet else 1 - share,
            ]
            rates = self.rates[kind, stage] * (1 + doublet)
            counts = stats.poisson.logpmf(COUNTS.numpy(), rates.numpy()).sum(-1)
            log_joint[kind, stage, doublet] = torch.stack(states).log().sum() + torch.tensor(counts)
        return log_joint


class SiteGuide(Guide):
    """A guide that samples one of the sites, from probabilities that differ by observation."""

    def __init__(self, site: str) -> None:
        super().__init__()
        self.site = site
        self.logits = torch.linspace(-1, 1, 3 * STATES[site]).double().view(3, -1)

    @property
    def sites(self) -> Sequence[str]:
        return (self.site,)

    @classmethod
    def fits(cls, model: Model) -> bool:
        return isinstance(model, Cells)

    @classmethod
    def for_model(cls, model: Model, encoder: Encoder | None) -> Guide:
        return cls("stage")

    @property
    def probabilities(self) -> Tensor:
        """q(state | counts), shape ``(B, K)``."""
        return self.logits.softmax(-1)

    def forward(self, batch: Batch) -> Tensor:
        q: Any = dist.Categorical(logits=self.logits)
        if self.site == "doublet":
            q = dist.Bernoulli(self.probabilities[:, 1])
        with observations(batch):
            return pyro.sample(self.site, q)


@pytest.fixture(params=[False, True], ids=["independent", "dependent"])
def dependent(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture(params=[False, True], ids=["two", "three"])
def model(request: pytest.FixtureRequest, dependent: bool) -> Cells:
    """A model of two or of three enumerated sites."""
    return Cells(dependent, doublets=request.param)


@pytest.fixture
def cells() -> Batch:
    """Three observations from a data set of 30."""
    return Batch.of_counts(COUNTS.to_sparse_csr(), COUNTS.sum(-1), torch.arange(3), 30)


def marginal(log_joint: Tensor, *axes: int) -> Tensor:
    """Sum over the states of all other axes; the observations come first."""
    others = [axis for axis in range(3) if axis not in axes]
    return log_joint.logsumexp(others).movedim(-1, 0) if others else log_joint.movedim(-1, 0)


def test_everything_is_summed_out(model: Cells, cells: Batch) -> None:
    draws = draw(model, ExactGuide(), cells, 4)
    evidence = marginal(model.log_joint())
    torch.testing.assert_close(draws.log_weights, evidence.expand(4, 3))
    assert set(draws.elbo_parts()) == {"counts"}
    torch.testing.assert_close(draws.elbo_parts()["counts"], evidence)
    loss = TraceEnum_ELBO(max_plate_nesting=1).loss(model, ExactGuide(), cells)
    assert loss == pytest.approx(-10 * evidence.sum().item())


@pytest.mark.parametrize("drawing", [draw, draw_latents])
def test_probabilities_are_the_exact_posteriors(
    drawing: Callable[..., Draws], model: Cells, cells: Batch
) -> None:
    draws = drawing(model, ExactGuide(), cells, 4)
    assert set(draws.probabilities) == {latent.name for latent in model.latents}
    posterior = model.log_joint() - marginal(model.log_joint())
    for axis, (name, n_states) in enumerate(STATES.items()):
        if name in draws.probabilities:
            assert draws.probabilities[name].shape == (4, 3, n_states)
            wanted = marginal(posterior, axis).exp()
            torch.testing.assert_close(draws.probabilities[name], wanted.expand(4, -1, -1))


def frequencies(latents: dict[str, Tensor], names: Sequence[str]) -> np.ndarray:
    """Count the draws of each combination of states, a row for each observation."""
    shape = tuple(STATES[name] for name in names)
    states = [latents[name].long().numpy() for name in names]
    flat = np.ravel_multi_index(states, shape)
    return np.stack([np.bincount(column, minlength=np.prod(shape)) for column in flat.T])


def test_states_are_drawn_together(model: Cells, cells: Batch) -> None:
    n_samples = 20_000
    latents = draw(model, ExactGuide(), cells, n_samples).latents()
    names = [latent.name for latent in model.latents]
    assert set(latents) == set(names)
    assert all(latents[name].shape == (n_samples, 3) for name in names)
    log_joint = model.log_joint()
    exact = marginal(log_joint - marginal(log_joint), *range(len(names))).exp().flatten(1).numpy()
    for drawn, p in zip(frequencies(latents, names), exact, strict=True):
        assert stats.chisquare(drawn, n_samples * p).pvalue > 1e-4


def test_the_check_of_frequencies_tells_joint_from_separate_draws(cells: Batch) -> None:
    model = Cells(dependent=True, doublets=False)
    draws = draw(model, ExactGuide(), cells, 20_000)
    kinds, stages = (draws.probabilities[name][0].numpy() for name in ("kind", "stage"))
    separate = (kinds[:, :, None] * stages[:, None]).reshape(3, -1)
    drawn = frequencies(draws.latents(), ["kind", "stage"])
    assert stats.chisquare(drawn, 20_000 * separate, axis=1).pvalue.min() < 1e-10


@pytest.mark.parametrize("site", STATES)
def test_the_guide_samples_one_of_the_sites(site: str, model: Cells, cells: Batch) -> None:
    if site not in {latent.name for latent in model.latents}:
        pytest.skip("the model has no such site")
    guide = SiteGuide(site)
    draws = draw(model, guide, cells, 50)
    axis = list(STATES).index(site)
    state = draws.values[site].long()
    rows = torch.arange(3)
    log_joint = model.log_joint()

    q = guide.probabilities
    torch.testing.assert_close(draws.probabilities[site], q.expand(50, -1, -1))
    log_q = q.log()[rows, state]
    torch.testing.assert_close(draws.log_guide[site], log_q)
    log_p = marginal(log_joint, axis)[rows, state]  # log p(state, counts)
    torch.testing.assert_close(draws.log_weights, log_p - log_q)
    parts = draws.elbo_parts()
    assert set(parts) == {site, "counts"}
    torch.testing.assert_close(parts[site] + parts["counts"], (log_p - log_q).mean(0))

    for other, (name, n_states) in enumerate(STATES.items()):
        if name != site and name in draws.probabilities:
            both = marginal(log_joint, *sorted((axis, other)))
            both = both if axis < other else both.transpose(1, 2)
            wanted = both[rows, state].softmax(-1)
            assert wanted.shape == (50, 3, n_states)
            torch.testing.assert_close(draws.probabilities[name], wanted)


def test_each_site_has_its_own_share_of_the_elbo(dependent: bool, cells: Batch) -> None:
    """log p(stage) sums over the kinds that it depends on, and the counts follow given it."""
    model = Cells(dependent, doublets=False)
    draws = draw(model, SiteGuide("stage"), cells, 50)
    state = draws.values["stage"]
    kinds = model.kinds / model.kinds.sum()
    stages = model.stages / model.stages.sum(-1, keepdim=True)
    log_p = (kinds @ stages).log()[state]
    torch.testing.assert_close(draws.log_model["stage"], log_p)
    with_counts = marginal(model.log_joint(), 1)[torch.arange(3), state]
    torch.testing.assert_close(draws.log_model["counts"], with_counts - log_p)


@pytest.mark.parametrize("site", [None, "kind", "stage"])
def test_replicates_take_the_values_of_every_site(
    site: str | None, dependent: bool, cells: Batch
) -> None:
    """A doublet is a float, as its distribution draws it, so that it scales the rates."""
    model = Cells(dependent, doublets=True)
    guide = ExactGuide() if site is None else SiteGuide(site)
    latents = draw(model, guide, cells, 4000).latents()
    assert set(latents) == set(STATES)
    assert latents["doublet"].dtype == torch.float64
    assert set(latents["doublet"].unique().tolist()) == {0.0, 1.0}
    replicates = model.draw(cells, 4000, given=latents)
    for name, value in latents.items():
        assert replicates[name].equal(value)
    rates = model.rates[latents["kind"], latents["stage"]] * (1 + latents["doublet"][..., None])
    standard_errors = rates.mean(0).sqrt() / 4000**0.5
    assert ((replicates["counts"] - rates).mean(0).abs() < 5 * standard_errors).all()


class Modalities(Model):
    """Two tables of counts that depend on one enumerated site."""

    numbers_per_draw = 12
    n_features = 4
    latents = (Latent("kind", states=2),)
    tables = ("rna", "protein")

    def __init__(self) -> None:
        super().__init__()
        self.rates = {"rna": torch.rand(2, 4).double(), "protein": 3 * torch.rand(2, 4).double()}

    def forward(self, batch: Batch) -> Tensor:
        with observations(batch):
            kind = pyro.sample("kind", dist.Categorical(torch.ones(2).double()), infer=PARALLEL)
            for name in self.tables:
                counts = PoissonCounts(self.rates[name][kind])
                pyro.sample(name, counts, obs=batch.tables[name].values)
            return kind


def test_each_table_has_its_own_log_probability() -> None:
    """The first is marginal over the site, the second is given the first."""
    model = Modalities()
    tables = {"rna": COUNTS, "protein": COUNTS.flip(1)}
    batch = Batch(
        {name: Table(x.to_sparse_csr(), x.sum(-1)) for name, x in tables.items()},
        torch.arange(3),
        30,
    )
    draws = draw(model, ExactGuide(), batch, 2)
    log_p = {
        name: stats.poisson.logpmf(x[:, None], model.rates[name]).sum(-1)
        for name, x in tables.items()
    }
    first = np.logaddexp.reduce(np.log(0.5) + log_p["rna"], axis=1)
    together = np.logaddexp.reduce(np.log(0.5) + log_p["rna"] + log_p["protein"], axis=1)
    assert list(draws.log_model) == ["rna", "protein"]
    np.testing.assert_allclose(draws.log_model["rna"][0], first)
    np.testing.assert_allclose(draws.log_model["protein"][0], together - first)
    np.testing.assert_allclose(draws.log_weights[1], together)
