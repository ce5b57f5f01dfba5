"""What the options leave open: how long a fit trains, and in what batches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from vae4counts.inference.fitting.options import BasicOptions, Schedule
from vae4counts.inference.fitting.plan import default_batch_size, plan_training


def model_of(n_features: int) -> Any:
    """What a plan asks a model for."""
    return SimpleNamespace(n_features=n_features, is_exact=False)


@pytest.mark.parametrize(
    ("n", "size"),
    [(1, 128), (5_000, 128), (23_000, 128), (24_000, 256), (55_000, 512), (10**7, 1024)],
)
def test_batches_grow_with_the_data(n: int, size: int) -> None:
    assert default_batch_size(n) == size


@pytest.mark.parametrize(
    ("n", "features", "epochs"),
    [(10**3, 10**3, 76), (10**6, 10**3, 8), (10**3, 10**6, 24), (10**12, 10**6, 1)],
)
def test_epochs_fall_with_the_cube_root_of_the_data(n: int, features: int, epochs: int) -> None:
    """And with the sixth root of the features."""
    phase = plan_training(BasicOptions(), Schedule(), model_of(features), n)
    assert phase.epochs == epochs
    steps = -(-n // phase.batch_size) * epochs
    assert phase.steps.cycle.steps == steps
    assert phase.warm_up_steps == min(2000, steps // 5)


def test_what_is_asked_for_is_done() -> None:
    basic = BasicOptions(epochs=7, batch_size=50, learning_rate=0.3)
    phase = plan_training(basic, Schedule(warm_up_steps=9), model_of(10), 10**5)
    assert (phase.epochs, phase.batch_size, phase.warm_up_steps) == (7, 50, 9)
    assert phase.steps.learning_rate == 0.3
    assert phase.steps.cycle.steps == 7 * 2000
