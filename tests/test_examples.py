import runpy
from pathlib import Path

import pytest
import torch
from scipy import stats

from vae4counts.models.likelihoods import LIKELIHOODS

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_a_likelihood_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "vae4counts.models.likelihoods.LIKELIHOODS", LIKELIHOODS
    )  # registered only while the test runs
    monkeypatch.delitem(LIKELIHOODS, "geometric", raising=False)
    runpy.run_path(str(EXAMPLES / "new_likelihood.py"))
    likelihood = LIKELIHOODS.pop("geometric")()
    likelihood.build(3)
    outputs = torch.tensor([[0.2, -1.0, 1.5]], dtype=torch.float64, requires_grad=True)
    counts = torch.tensor([[0.0, 2.0, 7.0]], dtype=torch.float64)
    mean = outputs.detach().exp().numpy()
    expected = stats.geom.logpmf(counts.numpy() + 1, 1 / (1 + mean)).sum()
    found = likelihood(outputs, None).log_prob(counts.to_sparse_csr())
    assert found.item() == pytest.approx(expected)
    assert torch.autograd.gradcheck(
        lambda x: likelihood(x, None).log_prob(counts.to_sparse_csr()), [outputs]
    )
