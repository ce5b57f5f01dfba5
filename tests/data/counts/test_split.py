from __future__ import annotations

import json

import numpy as np
import pytest

from vae4counts.data import DataError, Split, grouped_split, random_split


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


@pytest.mark.parametrize("seed", range(5))
def test_classes_have_their_share_of_each_part(seed: int) -> None:
    sizes = {"a": 600, "b": 300, "c": 97, "d": 3}
    classes = np.random.default_rng(seed).permutation(np.repeat(list(sizes), list(sizes.values())))
    split = random_split(1000, seed=seed, validation=0.2, test=0.1, classes=classes)
    assert (len(split.validation), len(split.test)) == (200, 100)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts(split))), np.arange(1000))
    for part, share in ((split.train, 0.7), (split.validation, 0.2), (split.test, 0.1)):
        for name, size in sizes.items():
            assert abs((classes[part] == name).sum() - share * size) <= 2
    again = random_split(1000, seed=seed + 100, validation=0.2, test=0.1, classes=classes)
    assert again.to_dict() != split.to_dict()


def test_stratified_members_are_drawn_at_random() -> None:
    classes = np.repeat(["a", "b"], 50)
    drawn = np.zeros(100)
    for seed in range(400):
        drawn[random_split(100, seed=seed, test=0.2, classes=classes).test] += 1
    # each of 100 is drawn in a fifth of the splits: 80 +- 8
    assert drawn.sum() == 400 * 20
    assert abs(drawn - 80).max() < 5 * 8


@pytest.mark.parametrize("seed", range(3))
def test_no_two_parts_share_a_group(seed: int) -> None:
    groups = np.random.default_rng(seed).integers(0, 20, size=500).astype(str)
    split = grouped_split(groups, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts(split))), np.arange(500))
    seen = [set(groups[part]) for part in parts(split)]
    assert [len(each) for each in seen] == [16, 2, 2]
    assert len(set.union(*seen)) == 20
    assert grouped_split(groups, seed=seed + 10).to_dict() != split.to_dict()


def test_two_groups_are_too_few() -> None:
    with pytest.raises(DataError, match="2 groups cannot be split"):
        grouped_split(np.array(["a", "b", "a", "b"]))


def test_a_split_among_some_of_the_observations() -> None:
    rows = np.array([3, 5, 8, 13, 21])
    split = random_split(5).among(rows)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts(split))), rows)


def parts(split: Split) -> list[np.ndarray]:
    return [split.train, split.validation, split.test]
