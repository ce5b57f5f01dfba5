"""The same seed gives the same fit, and a fit leaves everything else as it was."""

from __future__ import annotations

import gc
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from anndata import AnnData

from vae4counts.guides import Guide, guide_for
from vae4counts.inference import KLWarmUp, Run, Schedule, TrainingError, fit
from vae4counts.models import GMVAE, VAE, CountMixture, Model
from vae4counts.models.priors import GaussianMixture, StandardNormal, VampPrior

pytestmark = pytest.mark.slow


def marginal() -> Model:
    return GMVAE(7, GaussianMixture(2, 3))


def latent_library() -> Model:
    return GMVAE(7, GaussianMixture(2, 3), library="latent")


def vamp() -> Model:
    return GMVAE(7, VampPrior(2, 3))


def mixture() -> Model:
    return CountMixture(7, 3)


KINDS: dict[str, tuple[Callable[[], Model], str]] = {
    "marginal": (marginal, "marginal"),
    "joint": (latent_library, "joint"),
    "vamp": (vamp, "marginal"),
    "mixture": (mixture, "exact"),
}


def fitted(kind: str, adata: AnnData, **settings: Any) -> Run:
    torch.manual_seed(0)
    make, guide = KINDS[kind]
    model = make()
    settings = {"epochs": 4, "batch_size": 32, "progress": False, "device": "cpu"} | settings
    return fit(model, guide_for(model, guide), adata, **settings)


def history(run: Run) -> np.ndarray:
    """All but the clock's columns."""
    return run.history.drop(columns=["phase", "seconds"]).to_numpy()


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_everything(kind: str, adata: AnnData) -> None:
    first, second = fitted(kind, adata), fitted(kind, adata)
    assert np.array_equal(history(first), history(second))
    assert first.evaluate(adata, num_samples=5) == second.evaluate(adata, num_samples=5)
    assert np.array_equal(first.split.test, second.split.test)
    for part in ("model", "guide"):
        states = [getattr(run, part).state_dict() for run in (first, second)]
        assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_other_seed_other_history(adata: AnnData) -> None:
    assert not np.array_equal(
        history(fitted("marginal", adata)), history(fitted("marginal", adata, seed=1))
    )


def test_state_of_the_caller_does_not_matter(adata: AnnData) -> None:
    model = marginal()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    guide = guide_for(model)
    q = {name: value.clone() for name, value in guide.state_dict().items()}
    histories = []
    for noise in (1, 2):
        model.load_state_dict(start)
        guide.load_state_dict(q)
        torch.manual_seed(noise)
        np.random.seed(noise)  # noqa: NPY002
        random.seed(noise)
        histories.append(history(fit(model, guide, adata, epochs=3, progress=False, device="cpu")))
    assert np.array_equal(*histories)


@pytest.mark.parametrize("kind", KINDS)
def test_global_random_states_are_left_alone(kind: str, adata: AnnData) -> None:
    run = fitted(kind, adata)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    validates = pyro.settings.get("validate_distributions_pyro")
    parameters = set(pyro.get_param_store())
    model = run.model
    fit(model, run.guide, adata, epochs=2, progress=False, device="cpu")
    run.evaluate(adata, num_samples=3)
    run.annotate(adata.copy(), num_samples=3)
    run.posterior(adata, num_samples=3)
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert before[2] == after[2]
    assert pyro.settings.get("validate_distributions_pyro") == validates
    assert torch.distributions.Distribution._validate_args
    assert set(pyro.get_param_store()) == parameters


def test_fits_in_one_process_do_not_disturb_each_other(adata: AnnData) -> None:
    alone = fitted("marginal", adata)
    evaluated = alone.evaluate(adata, num_samples=5)
    for kind in KINDS:
        fitted(kind, adata, seed=3)
    assert alone.evaluate(adata, num_samples=5) == evaluated
    again = fitted("marginal", adata)
    assert np.array_equal(history(alone), history(again))


def test_fits_in_two_threads_take_turns(adata: AnnData) -> None:
    def make(number: int) -> tuple[Model, Guide]:
        torch.manual_seed(number)
        model = latent_library()
        return model, guide_for(model)

    def train(pair: tuple[Model, Guide]) -> np.ndarray:
        settings: dict[str, Any] = {"epochs": 3, "batch_size": 16, "device": "cpu"}
        return history(fit(*pair, adata, progress=False, **settings))

    alone = [train(make(number)) for number in (1, 2)]
    pairs = [make(number) for number in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(train, pairs))
    assert all(map(np.array_equal, alone, together))


def test_a_fit_within_a_fit_does_not_disturb_it(adata: AnnData) -> None:
    settings: dict[str, Any] = {"batch_size": 16, "progress": False, "device": "cpu"}
    inner = marginal()
    guide = guide_for(inner)
    fits = []

    class Another(KLWarmUp):
        def step(self) -> None:
            super().step()
            if self.taken == 3:
                fits.append(fit(inner, guide, adata, epochs=1, **settings))

    def outer(handler: KLWarmUp) -> np.ndarray:
        torch.manual_seed(0)
        model = VAE(7, StandardNormal(2))
        return history(
            fit(
                model,
                guide_for(model),
                adata,
                epochs=3,
                schedule=Schedule(handlers=[handler]),
                **settings,
            )
        )

    assert np.array_equal(outer(KLWarmUp(5)), outer(Another(5)))
    assert len(fits) == 1


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_fit_that_raises_leaves_random_states_alone(adata: AnnData) -> None:
    model = VAE(7, StandardNormal(2))
    guide = guide_for(model)
    with torch.no_grad():
        next(guide.parameters()).fill_(np.nan)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    with pytest.raises(TrainingError):
        fit(
            model,
            guide,
            adata,
            epochs=2,
            progress=False,
            device="cpu",
            schedule=Schedule(warm_start=True),
        )
    after = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    assert torch.equal(before[0], after[0])
    assert np.array_equal(before[1], after[1])
    assert before[2] == after[2]


def test_a_fit_does_not_freeze_the_objects_of_its_caller(adata: AnnData) -> None:
    counts = []

    class Watching(KLWarmUp):
        def step(self) -> None:
            super().step()
            counts.append(gc.get_freeze_count())

    before = gc.get_freeze_count()
    fitted("marginal", adata, schedule=Schedule(handlers=[Watching(1)]))
    # what was frozen before, by another test, may be freed meanwhile
    assert counts
    assert max(counts) <= before


def test_data_are_left_alone(adata: AnnData) -> None:
    before = adata.copy()
    run = fitted("marginal", adata, label="group")
    run.evaluate(adata, num_samples=2)
    assert (adata.X != before.X).nnz == 0
    assert adata.obs.equals(before.obs)
    assert not adata.obsm
    assert not adata.uns
