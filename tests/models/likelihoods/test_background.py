"""Negative binomial counts above a background: which counts are foreground, and the start."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from vae4counts.models.likelihoods import (
    NegativeBinomialBackground,
    NegativeBinomialBackgroundCounts,
    NegativeBinomialCounts,
)

P, SIGNAL, BACKGROUND, R = 0.6, 50.0, 10.0, 3.0


def distribution() -> NegativeBinomialBackgroundCounts:
    gate = np.log(P / (1 - P))
    return NegativeBinomialBackgroundCounts(
        *(torch.tensor([value], dtype=torch.float64) for value in (gate, SIGNAL, BACKGROUND, R))
    )


def test_it_is_the_mixture() -> None:
    x = np.arange(400)
    parts = [stats.nbinom.pmf(x, R, R / (R + m)) for m in (BACKGROUND, BACKGROUND + SIGNAL)]
    mixture = P * parts[0] + (1 - P) * parts[1]
    values = torch.tensor(x[:, None])
    np.testing.assert_allclose(distribution().log_prob(values), np.log(mixture), rtol=1e-10)
    found = distribution().foreground_probability(values).squeeze(-1)
    np.testing.assert_allclose(found, (1 - P) * parts[1] / mixture, rtol=1e-9)
    sparse = distribution().foreground_probability(values.double().to_sparse_csr())
    assert sparse.squeeze(-1).equal(found)


def test_without_a_signal_it_is_the_background() -> None:
    nothing = torch.zeros(1, dtype=torch.float64)
    mean, r = (torch.tensor([value], dtype=torch.float64) for value in (BACKGROUND, R))
    x = torch.tensor([[0.0], [7], [60]])
    found = NegativeBinomialBackgroundCounts(nothing, nothing, mean, r)
    torch.testing.assert_close(found.log_prob(x), NegativeBinomialCounts(mean, r).log_prob(x))
    torch.testing.assert_close(found.foreground_probability(x), torch.full((3, 1), 0.5).double())


@pytest.mark.parametrize("library", [None, torch.tensor([[100.0]])])
def test_rates_are_the_signal(library: torch.Tensor | None) -> None:
    likelihood = NegativeBinomialBackground()
    likelihood.build(3)
    outputs = torch.randn(1, 6)
    signal = outputs[:, :3].exp() if library is None else library * outputs[:, :3].softmax(-1)
    expected = torch.sigmoid(-outputs[:, 3:]) * signal
    torch.testing.assert_close(likelihood.rates(outputs, library), expected)
    above = likelihood(outputs, library).mean - likelihood.own["background"].exp()
    torch.testing.assert_close(above, expected)


def test_the_background_starts_below_the_foreground() -> None:
    """Of a feature that three in ten observations have, where the others have a background."""
    torch.manual_seed(0)
    has = (torch.arange(500) % 10 < 3).float()
    counts = torch.poisson(torch.stack([5 + 200 * has, torch.full((500,), 30.0)], -1))
    likelihood = NegativeBinomialBackground(by="batch")
    likelihood.build(2, {"batch": 3})
    outputs = likelihood.start(counts.to_sparse_csr())
    level = likelihood.own["background"].exp()
    assert level.shape == (3, 2)
    assert ((level > 2) & (level < torch.tensor([12.0, 25]))).all()
    mean = likelihood.given({"batch": torch.tensor([1])})(outputs[None], None).mean[0]
    # those of features without counts are not 0: a tenth of the mean is spread over all
    torch.testing.assert_close(mean, counts.mean(0), rtol=0.1, atol=0)
