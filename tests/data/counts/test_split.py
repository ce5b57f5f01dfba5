from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from vae4counts.data import DataError, Split, grouped_split, random_split, split_from_column


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
    assert are_equal(random_split(50, seed=3), random_split(50, seed=3))
    assert not are_equal(random_split(50, seed=3), random_split(50, seed=4))


def test_the_draw_of_a_seed_stays_the_same() -> None:
    split = random_split(10, seed=0, validation=0.2, test=0.2)
    assert (split.validation.tolist(), split.test.tolist()) == ([4, 6], [2, 7])


@pytest.mark.parametrize("n", [-1, 0, 2])
def test_too_few_observations(n: int) -> None:
    with pytest.raises(DataError, match=f"{n} observations cannot be split"):
        random_split(n)


@pytest.mark.parametrize(("validation", "test"), [(0, 0.1), (0.1, -0.1), (0.5, 0.5)])
def test_shares_are_checked(validation: float, test: float) -> None:
    with pytest.raises(ValueError, match=f"not {validation} and {test}"):
        random_split(100, validation=validation, test=test)


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
    assert not are_equal(again, split)


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
    assert not are_equal(grouped_split(groups, seed=seed + 10), split)


def test_two_groups_are_too_few() -> None:
    with pytest.raises(DataError, match="2 groups cannot be split"):
        grouped_split(np.array(["a", "b", "a", "b"]))


def test_a_split_among_some_of_the_observations() -> None:
    rows = np.array([3, 5, 8, 13, 21])
    split = random_split(5).among(rows)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts(split))), rows)


@pytest.mark.parametrize("kind", ["object", "string", "category"])
def test_a_split_from_a_column(kind: str) -> None:
    words = ["train", "Test", None, "VALIDATION", "", "train ", "val", np.nan, "valid", "test"]
    split = split_from_column(pd.Series(words, dtype=kind))
    assert split.train.tolist() == [0, 5]
    assert split.validation.tolist() == [3, 6, 8]
    assert split.test.tolist() == [1, 9]
    assert split.train.dtype == np.int64


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "val", "tset", "test"], r"^Column 'part' has 'tset' at row 2 \('cell2'\): "),
        (["train", "val", "test", 3], r"has 3 at row 3 \('cell3'\)"),
        ([True, False, True, False], r"has True at row 0"),
        (
            ["train", "test", "test", ""],
            r"^Column 'part' has no row that says 'validation' \(1 train, 0 validation, 2 test, "
            r"1 without a value\)",
        ),
        ([None] * 4, "no row that says 'train'"),
    ],
)
def test_a_column_that_is_no_split_is_an_error(words: list[object], message: str) -> None:
    column = pd.Series(words, index=[f"cell{i}" for i in range(4)], name="part")
    with pytest.raises(DataError, match=message) as caught:
        split_from_column(column)
    assert "\n" not in str(caught.value)


def parts(split: Split) -> list[np.ndarray]:
    return [split.train, split.validation, split.test]


def are_equal(one: Split, other: Split) -> bool:
    return all(map(np.array_equal, parts(one), parts(other)))
