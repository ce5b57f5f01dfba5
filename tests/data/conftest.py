"""Small made data that several tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def dense(rng: np.random.Generator) -> np.ndarray:
    """Counts of 12 observations and 7 features, mostly zeros, none of the rows or columns empty."""
    counts = rng.poisson(0.6, size=(12, 7))
    counts[np.arange(12), np.arange(12) % 7] += 1
    return counts


@pytest.fixture
def shared_data() -> Path:
    """Real data that may lie beside the repository."""
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real data in ../shared/data, which is not here")
    return folder
