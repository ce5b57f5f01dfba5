"""Hidden variables that explain two others, and trees built of them, on counts of known trees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from vae4counts.models.joint import tree_structures
from vae4counts.models.joint.hidden_variable import fit_hidden, information_with
from vae4counts.models.joint.tree_structures import STRUCTURES


def noisy(states: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each state, or one at random in a fifth of all cases."""
    return np.where(random.random(len(states)) < 0.2, random.integers(0, 3, len(states)), states)


def indicators(states: np.ndarray) -> np.ndarray:
    return np.eye(3, dtype=np.float32)[states]


def test_information() -> None:
    random = np.random.default_rng(0)
    states = [random.integers(0, 3, 200) for _ in range(3)]
    states[2] = noisy(states[0], random)
    found = information_with(indicators(states[0]), np.stack([indicators(s) for s in states]))
    expected = [mutual_info_score(states[0], s) for s in states]
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("n_states", [2, 3])
def test_what_two_noisy_copies_share_is_found(n_states: int) -> None:
    random = np.random.default_rng(0)
    hidden = random.integers(0, n_states, 5000)
    first, second = (indicators(noisy(hidden, random)) for _ in range(2))
    shares = fit_hidden(first, second, 3, random)
    assert (shares.max(0) > 0).sum() == n_states
    np.testing.assert_allclose(shares.sum(1), 1, rtol=1e-5)
    # given the hidden variable, one tells nothing of the other
    joint = np.einsum("nh,na,nb->hab", shares[:, :n_states], first, second)
    apart = joint.sum(2)[:, :, None] * joint.sum(1)[:, None] / joint.sum((1, 2))[:, None, None]
    assert (abs(joint.sum(0) - apart.sum(0)) < 2 * np.sqrt(apart.sum(0))).all()


def counts_of_groups() -> torch.Tensor:
    """Eight counts that repeat one of four states, of which the first two and last two agree."""
    random = np.random.default_rng(0)
    tops = [random.integers(0, 3, 4000) for _ in range(2)]
    middles = [noisy(top, random) for top in tops for _ in range(2)]
    counts = np.stack([noisy(middle, random) for middle in middles for _ in range(2)], 1)
    return torch.as_tensor(counts, dtype=torch.float32)


def test_a_tree_is_built_from_the_leaves() -> None:
    counts = counts_of_groups()[:, [0, 2, 4, 6, 1, 3, 5, 7]]
    tables = [rows.to_sparse_csr() for rows in counts.split(1000)]
    parents, nodes = STRUCTURES["greedy"](tables, 8, 3)
    assert nodes[:4].tolist() == nodes[4:].tolist()
    above = parents[nodes[:4]]
    assert above[0] == above[1] != above[2] == above[3]
    assert parents[above[0]] == parents[above[2]] == 6
    assert parents[6] == -1


def test_too_many_observations_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_structures, "MOST_NUMBERS", 100)
    with pytest.raises(ValueError, match="of 4000 observations and 8 features"):
        STRUCTURES["greedy"]([counts_of_groups().to_sparse_csr()], 8, 3)
