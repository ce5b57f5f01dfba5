from __future__ import annotations

import json

import numpy as np
import pytest

from vae4counts.data import DataError, Split, random_split


@pytest.mark.parametrize("n", [3, 4, 10, 1001])
@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.1), (0.49, 0.49), (0.01, 0.9)])
def test_parts_share_nothing_and_lose_nothing(n: int, validation: float, test: float) -> None:
    split = random_split(n, validation=validation, test=test)
    parts = [split.train, split.validation, split.test]
    assert all(part.size for part in parts)
    assert all(part.dtype == np.int64 for part in parts)
    assert all((np.diff(part) > 0).all() for part in parts)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))


def test_shares() -> None:
    split = random_split(1000, validation=0.1, test=0.25)
    assert (split.train.size, split.validation.size, split.test.size) == (650, 100, 250)


def test_seed() -> None:
    assert random_split(50, seed=3).to_dict() == random_split(50, seed=3).to_dict()
    assert random_split(50, seed=3).to_dict() != random_split(50, seed=4).to_dict()


@pytest.mark.parametrize("n", [-1, 0, 2])
def test_too_few_observations(n: int) -> None:
    with pytest.raises(DataError, match=f"{n} observations cannot be split"):
        random_split(n)


@pytest.mark.parametrize(("validation", "test"), [(0, 0.1), (0.1, -0.1), (0.5, 0.5)])
def test_shares_are_checked(validation: float, test: float) -> None:
    with pytest.raises(ValueError, match=f"not {validation} and {test}"):
        random_split(100, validation=validation, test=test)


def test_json_round_trip() -> None:
    split = random_split(20)
    again = Split.from_dict(json.loads(json.dumps(split.to_dict())))
    assert again.to_dict() == split.to_dict()
    assert again.train.dtype == np.int64
    with pytest.raises(DataError, match=r"missing: \['test'\]"):
        Split.from_dict({"train": [0], "validation": [1]})
