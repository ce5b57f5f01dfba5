"""One cycle of the learning rate over all steps of a fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from anndata import AnnData

from vae4counts.guides import guide_for
from vae4counts.inference import Schedule, fit
from vae4counts.inference.fitting.learning_rate import OneCycle
from vae4counts.inference.fitting.step import Steps
from vae4counts.models import GMVAE, VAE
from vae4counts.models.priors import GaussianMixture, StandardNormal


def test_it_grows_by_equal_steps_and_falls_to_a_hundredth() -> None:
    shares = [OneCycle(1000).share(taken) for taken in range(1000)]
    rising = shares[:150]
    assert rising == pytest.approx([(taken + 0.5) / 150 for taken in range(150)])
    assert max(shares) == pytest.approx(1, abs=1e-4)
    falling = shares[150:]
    assert falling == sorted(falling, reverse=True)
    assert shares[-1] == pytest.approx(0.01, abs=1e-4)
    assert sum(falling) / len(falling) == pytest.approx((1 + 0.01) / 2, abs=1e-3)  # half a cosine


def test_it_stays_low_after_its_end() -> None:
    assert OneCycle(10).share(10) == OneCycle(10).share(50) == pytest.approx(0.01)


def test_it_continues_in_another_training() -> None:
    assert OneCycle(100).after(10).after(20).share(5) == OneCycle(100).share(35)


@pytest.mark.parametrize("restarts", [1, 2])
@pytest.mark.parametrize("mixture", [False, True])
def test_a_fit_is_one_cycle(
    mixture: bool, restarts: int, adata: AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plain twin, the short fit that was the best, and the rest of the training."""
    rates: list[tuple[float, float]] = []
    set_rates = Steps._set_learning_rates

    def noting_rates(steps: Steps) -> None:
        set_rates(steps)
        one, *others = (group["lr"] for group in steps.optimiser.param_groups)
        rates.append((one, *others))

    monkeypatch.setattr(Steps, "_set_learning_rates", noting_rates)
    torch.manual_seed(0)
    model = GMVAE(7, GaussianMixture(2, 3)) if mixture else VAE(7, StandardNormal(2))
    options: dict[str, Any] = {"epochs": 10, "learning_rate": 0.1, "batch_size": 40}
    schedule = Schedule(restarts=restarts, prior_learning_rate=0.2)
    fit(model, guide_for(model), adata, schedule=schedule, progress=False, **options)
    steps = 2 * 10  # of 80 observations
    short = 2 * 2
    order = [*range(short)] * restarts + [*range(short, steps)] if restarts > 1 else range(steps)
    cycle = OneCycle(steps)
    assert [rate[0] for rate in rates] == pytest.approx([0.1 * cycle.share(n) for n in order])
    for rate in rates:
        assert rate[1:] == pytest.approx([2 * rate[0]] * (len(rate) - 1))
    assert any(len(rate) > 1 for rate in rates) == mixture
