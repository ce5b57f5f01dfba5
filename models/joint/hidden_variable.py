"""A hidden variable that explains what two others have to do with each other."""

from __future__ import annotations

import numpy as np

# Random starts of the fit of a hidden variable, and steps of each.
STARTS, STEPS = 5, 100
# Added to probabilities that are divided by.
TINY = 1e-30


def information_with(shares: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the mutual information of a variable and each of others, in nats, shape ``(G,)``.

    Args:
        shares: The probability of each state of the variable in each observation, ``(n, H)``.
        others: The same for the others, shape ``(G, n, H)``.
    """
    joint = (shares.T @ others).astype(np.float64) / len(shares)  # (G, H, H)
    apart = joint.sum(-1, keepdims=True) * joint.sum(-2, keepdims=True)
    ratio = np.divide(joint, apart, out=np.ones_like(joint), where=joint > 0)
    return (joint * np.log(ratio)).sum((-2, -1))


def fit_hidden(
    first: np.ndarray, second: np.ndarray, n_states: int, random: np.random.Generator
) -> np.ndarray:
    r"""Fit a hidden variable given which two variables are independent.

    .. math:: p(a, b) = \sum_h p(h)\, p(a | h)\, p(b | h)

    By the EM algorithm, for the table of the expected counts of pairs of states. States are added
    as long as they lower the Bayesian information criterion.

    Args:
        first: The probability of each state of one of them in each observation, ``(n, H)``.
        second: The same for the other, shape ``(n, H)``.
        n_states: Most states of the hidden variable.
        random: A generator, for the starts.

    Returns:
        The probability of each of its states in each observation, float32, shape ``(n, H)``.
    """
    n, width = first.shape
    joint = first.T.astype(np.float64) @ second / n
    lowest, given = np.inf, np.ones((width, width, 1))
    seen = sum(int((joint.sum(axis) > 0).sum()) - 1 for axis in (0, 1))
    for size in range(2, n_states + 1):
        log_likelihood, tried = _latent_classes(joint, size, random)
        criterion = np.log(n) * (size - 1 + size * seen) - 2 * n * log_likelihood
        if criterion >= lowest:
            break
        lowest, given = criterion, tried
    shares = np.zeros((n, width), dtype=np.float32)
    pairs = first[:, :, None] * second[:, None]
    shares[:, : given.shape[-1]] = pairs.reshape(n, -1) @ given.reshape(width**2, -1)
    return shares


def _latent_classes(
    joint: np.ndarray, size: int, random: np.random.Generator
) -> tuple[float, np.ndarray]:
    """Return the log-likelihood of a table of pairs, and ``p(h | a, b)`` of shape ``(H, H, K)``."""
    given = random.dirichlet(np.ones(size), (STARTS, *joint.shape))
    for _ in range(STEPS):
        weights = given * joint[..., None]
        by_first, by_second = weights.sum(2), weights.sum(1)
        p = by_first[:, :, None] * by_second[:, None] / (by_first.sum(1)[:, None, None] + TINY)
        total = p.sum(-1, keepdims=True)
        given = p / (total + TINY)
    log_likelihoods = (joint * np.log(total[..., 0] + TINY)).sum((1, 2))
    best = log_likelihoods.argmax()
    return log_likelihoods[best], given[best]
