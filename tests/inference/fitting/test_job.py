"""What a fit says of how its training went."""

from __future__ import annotations

import math

import pytest

from vae4counts.inference.fitting.history import EpochRecord
from vae4counts.inference.fitting.job import Trained


def record(phase: str, kl_weight: float, elbo: float) -> EpochRecord:
    return EpochRecord(phase, 1, 1, kl_weight, elbo, elbo, elbo, 1.0)


@pytest.mark.parametrize(
    ("records", "kept"),
    [
        ([("full", 1.0, -3.0), ("full", 1.0, -1.0), ("full", 1.0, -2.0)], 2),
        ([("plain", 1.0, -1.0), ("full", 1.0, -3.0), ("full", 1.0, -2.0)], 3),
        ([("full", 0.5, -1.0), ("full", 1.0, -3.0)], 2),  # of another objective
        ([("full", 1.0, -2.0), ("full", 1.0, math.inf), ("full", 1.0, math.nan)], 1),
    ],
)
def test_the_epoch_whose_parameters_are_kept(
    records: list[tuple[str, float, float]], kept: int
) -> None:
    trained = Trained([record(*each) for each in records], {}, 3.0, 3, 1)
    metrics = trained.metrics(10)
    assert metrics["epoch_kept"] == kept
    assert metrics["stopped_early"] == (len(records) < 3)
