"""Small synthetic data that several tests share."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
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
    """The folder of real data beside the repository, if there is one."""
    folder = Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs the real data in ../shared/data")
    return folder


def write_xena_table(
    path: Path, features: Sequence[str], samples: Sequence[str], values: np.ndarray, end: str = "\n"
) -> None:
    """Write features x samples as UCSC Xena does: four decimals, NA for a missing value."""
    lines = ["\t".join(["sample", *samples])]
    for feature, row in zip(features, values, strict=True):
        lines.append("\t".join([feature, *("NA" if x != x else f"{x:.4f}" for x in row)]))
    path.write_bytes(gzip.compress((end.join(lines) + end).encode()))


@pytest.fixture
def put_xena_table() -> Callable[..., None]:
    """The function `write_xena_table`."""
    return write_xena_table
