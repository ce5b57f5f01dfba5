"""Links of a tree of features, and the groups that they hold together."""

from __future__ import annotations

import numpy as np
import pytest

from vae4counts.inference.interpretation import NotInModelError, feature_groups, feature_links
from vae4counts.models import FeatureTree
from vae4counts.models.joint import Independent

# Two hidden nodes, 0 and 3, join pairs of features (node 1 has two) and a single one.
TREE = FeatureTree(
    parents=np.array([-1, 0, 0, 0, 3, 3]),
    nodes=np.array([1, 1, 2, 4, 5]),
    information=np.array([0.0, 0.5, 0.4, 0.1, 0.9, 0.3]),
)
FEATURES = ["fork", "knife", "cake", "dog", "leash"]


class Tree(Independent):
    """A model with a tree."""

    def feature_tree(self) -> FeatureTree:
        return TREE


def test_links_are_listed_by_how_close_they_are() -> None:
    links = feature_links(Tree(5), FEATURES)
    assert list(links["node"]) == ["dog", "fork, knife", "cake", "leash", "hidden 3"]
    assert list(links["parent"]) == ["hidden 3", "hidden 0", "hidden 0", "hidden 3", "hidden 0"]
    assert list(links["nats"]) == [0.9, 0.5, 0.4, 0.3, 0.1]


@pytest.mark.parametrize(
    ("largest", "groups"),
    [
        (2, {"dog, leash": 1.2, "fork, knife": 0.5}),  # the hidden node 0 goes with fork and knife
        (3, {"dog, leash": 1.2, "fork, knife, cake": 0.9}),
        (5, {"fork, knife, cake, dog, leash": 2.2}),
    ],
)
def test_close_links_hold_groups_together(largest: int, groups: dict[str, float]) -> None:
    table = feature_groups(Tree(5), FEATURES, largest=largest)
    assert dict(zip(table["features"], table["nats"], strict=True)) == pytest.approx(groups)
    assert [len(names.split(", ")) for names in table["features"]] == list(table["size"])
    assert table["nats"].is_monotonic_decreasing


def test_what_cannot_be_grouped() -> None:
    with pytest.raises(NotInModelError, match="has no tree of features"):
        feature_groups(Independent(5), FEATURES)
    with pytest.raises(ValueError, match="largest is 1: it must be 2 or more"):
        feature_groups(Tree(5), FEATURES, largest=1)
