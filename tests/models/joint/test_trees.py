"""Structures and tables that are learnt from data, against scikit-learn, SciPy and brute force."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import torch
from scipy import stats
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import minimum_spanning_tree
from sklearn.metrics import mutual_info_score

from vae4counts.data import CountLoader
from vae4counts.models.joint import ChowLiuTree, LatentTree
from vae4counts.models.joint.chow_liu import leave_one_out_score
from vae4counts.models.joint.cooccurrence import CoOccurrence, maximum_spanning_tree
from vae4counts.models.joint.tail import Tail
from vae4counts.models.joint.tree import Levels, rooted
from vae4counts.models.likelihoods import Categorical


def chain(n: int = 4000, g: int = 6) -> np.ndarray:
    """Counts of features each of which mostly repeats the one before it."""
    random = np.random.default_rng(0)
    counts = np.zeros((n, g), dtype=np.float32)
    counts[:, 0] = random.poisson(0.7, n)
    for j in range(1, g):
        fresh = random.poisson(0.7, n)
        counts[:, j] = np.where(random.random(n) < 0.6, counts[:, j - 1], fresh)
    return counts


def batches(counts: np.ndarray, batch_size: int = 512) -> CountLoader:
    table = anndata.AnnData(csr_matrix(counts[counts.sum(1) > 0]))
    return CountLoader(table, batch_size=batch_size, shuffle=False)


def links(parents: np.ndarray) -> set[frozenset[int]]:
    return {frozenset((int(j), int(p))) for j, p in enumerate(parents) if p >= 0}


def test_mutual_information() -> None:
    counts = chain(300)
    seen = CoOccurrence(6, n_states=3)
    for rows in np.array_split(counts, 3):
        seen.add(torch.as_tensor(rows).to_sparse_csr())
    states = np.minimum(counts, 2)
    expected = [[mutual_info_score(a, b) for b in states.T] for a in states.T]
    np.testing.assert_allclose(seen.mutual_information(), expected, atol=1e-12)
    np.testing.assert_array_equal(seen.singles[1], (counts == 1).sum(0))


def test_heaviest_tree() -> None:
    weights = np.random.default_rng(0).random((30, 30))
    weights += weights.T
    edges = maximum_spanning_tree(weights)
    expected = -minimum_spanning_tree(-weights).sum()
    assert weights[edges[:, 0], edges[:, 1]].sum() == pytest.approx(expected)


def test_the_root_is_in_the_middle() -> None:
    parents = rooted(7, np.array([(i, i + 1) for i in range(6)]))
    assert parents[3] == -1
    levels = Levels.of(torch.as_tensor(parents), torch.arange(7))
    assert levels.sizes == [1, 2, 2, 2]
    with pytest.raises(ValueError, match="circle"):
        Levels.of(torch.tensor([1, 0, -1]), torch.arange(3))


def test_a_chain_is_found_again_whatever_the_batches() -> None:
    found = []
    for batch_size in (100, 4000):
        model = ChowLiuTree(6)
        model.learn(batches(chain(), batch_size))
        found.append(model)
    assert links(found[0].parents.numpy()) == {frozenset((j, j + 1)) for j in range(5)}
    for name, value in found[0].state_dict().items():
        torch.testing.assert_close(found[1].state_dict()[name], value)
    hidden = LatentTree(6, 2)
    hidden.learn(batches(chain()))
    assert links(hidden.parents.numpy()) == links(found[0].parents.numpy())


def test_close_features_are_joined_first() -> None:
    counts = chain(g=4)
    counts[:, 2:] = np.random.default_rng(1).permuted(counts[:, 2:], axis=0)
    counts[:, 3] = counts[:, 2]
    model = LatentTree(4, 2, structure="binary")
    model.learn(batches(counts))
    nodes = model.nodes.numpy()
    assert nodes[0] == nodes[1]
    assert nodes[2] == nodes[3]
    assert nodes[0] != nodes[2]
    assert model.levels.sizes == [1, 2]


def test_tables_without_smoothing_are_frequencies() -> None:
    counts = chain()
    model = ChowLiuTree(6, n_states=3, tail=None, shrinkage=0.0)
    model.learn(batches(counts))
    states = np.minimum(counts[counts.sum(1) > 0], 2).astype(int)
    parents = model.parents.numpy()
    tables = model.log_transitions.exp().numpy()
    for j, parent in enumerate(parents):
        if parent >= 0:
            table = np.zeros((3, 3))
            np.add.at(table, (states[:, parent], states[:, j]), 1)
            np.testing.assert_allclose(tables[j], table / table.sum(1, keepdims=True), atol=1e-6)


def test_the_strength_is_scored_by_leaving_each_observation_out() -> None:
    pairs = [(0, 0), (0, 1), (0, 1), (1, 1), (1, 0), (1, 0), (1, 0)]
    table = np.zeros((2, 2, 1))
    for parent, child in pairs:
        table[parent, child] += 1
    marginal, strength, expected = np.array([[0.6], [0.4]]), 2.0, 0.0
    for parent, child in pairs:
        others = table[..., 0].copy()
        others[parent, child] -= 1
        shrunk = others[parent, child] + strength * marginal[child, 0]
        expected += np.log(shrunk / (others[parent].sum() + strength))
    assert leave_one_out_score(table, marginal, strength) == pytest.approx(expected)


def test_few_observations_are_shrunk_more() -> None:
    random = np.random.default_rng(0)
    independent = random.poisson(0.7, (200, 6)).astype(np.float32)
    shrunk, free = ChowLiuTree(6), ChowLiuTree(6, shrinkage=0.0)
    held_out = torch.as_tensor(random.poisson(0.7, (2000, 6)).astype(np.float32))
    for model in (shrunk, free):
        model.learn(batches(independent))
    gain = shrunk.distribution().log_prob(held_out) - free.distribution().log_prob(held_out)
    assert gain.mean() > 0.02


@pytest.mark.parametrize("kind", ["geometric", "negative-binomial"])
def test_tails(kind: str) -> None:
    random = np.random.default_rng(0)
    r = 1.0 if kind == "geometric" else 0.5
    rest = random.negative_binomial(r, r / (r + 3.0), (40_000, 2))
    tail = Tail(2, threshold=2)
    tail.add(torch.as_tensor(rest + 2.0).to_sparse_csr())
    tail.add(torch.tensor([[1.0, 0.0]]).to_sparse_csr())  # which does not reach it
    mean, found = tail.moments(kind)
    np.testing.assert_allclose(mean, 3.0, rtol=0.05)
    np.testing.assert_allclose(found, r, rtol=0.1)


def test_a_count_beyond_the_last_state() -> None:
    model = ChowLiuTree(2, n_states=3)
    with torch.no_grad():
        model.rest.copy_(torch.tensor([[2.0, 0.5], [0.7, 1.0]]))
    row = torch.tensor([[7.0, 3.0]])
    mean, r = model.rest.numpy()
    expected = 2 * np.log(1 / 3) + stats.nbinom.logpmf([5, 1], r, r / (r + mean)).sum()
    assert model.distribution().log_prob(row).item() == pytest.approx(expected, rel=1e-5)


def test_neighbours_tell_as_much_of_each_other_as_in_the_data() -> None:
    counts = chain()
    model = ChowLiuTree(6, n_states=3, tail=None, shrinkage=0.0)
    model.learn(batches(counts))
    tree = model.feature_tree()
    states = np.minimum(counts[counts.sum(1) > 0], 2)
    for j, parent in enumerate(tree.parents):
        wanted = mutual_info_score(states[:, j], states[:, parent]) if parent >= 0 else 0.0
        assert tree.information[j] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: ChowLiuTree(3, 1), "n_states is 1"),
        (lambda: ChowLiuTree(3, tail="long"), "tail is 'long'"),
        (lambda: ChowLiuTree(3, shrinkage=-1.0), "0 or more"),
        (lambda: LatentTree(1), "n_features 1"),
        (lambda: LatentTree(3, structure="star"), "structure is 'star'"),
        (lambda: LatentTree(3, 2, Categorical(1)), "n_classes is 1"),
    ],
)
def test_bad_arguments(make: object, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        make()  # type: ignore[operator]
