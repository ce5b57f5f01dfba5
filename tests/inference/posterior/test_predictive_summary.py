"""Streamed summaries: against numpy, against closed forms, and in how much memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from anndata import AnnData
from scipy import stats

from vae4counts.data import Batch
from vae4counts.guides import Guide
from vae4counts.inference import Run
from vae4counts.inference.posterior import draws as draws_module
from vae4counts.inference.posterior.predictive_summary import (
    CountSummary,
    bin_of,
    count_of,
    summarise,
)
from vae4counts.models import Model

QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)


def test_counts_keep_their_place_in_the_bins() -> None:
    small = torch.arange(64.0)
    assert torch.equal(bin_of(small), torch.arange(64))
    large = torch.cat([torch.arange(64.0, 2000), 2.0 ** torch.arange(6, 24), torch.tensor([1.6e7])])
    np.testing.assert_allclose(count_of(bin_of(large).numpy()), large, rtol=1 / 64)
    assert (bin_of(torch.arange(1.0, 1e5)).diff() >= 0).all()
    assert bin_of(torch.tensor([1e12])).item() == bin_of(torch.tensor([1.6777215e7])).item()


@pytest.mark.parametrize("parts", [1, 7])
def test_series_seen_in_parts_are_summarised_as_by_numpy(parts: int) -> None:
    rng = np.random.default_rng(0)
    means = np.array([0.0, 0.01, 0.4, 3, 20, 1000, 3e5])
    counts = rng.poisson(rng.gamma(2.0, means / 2, size=(2100, 7))).astype(np.float32)
    summary = CountSummary(7)
    for part in np.split(counts, parts):
        rows, series = part.nonzero()
        summary.add(torch.as_tensor(series), torch.as_tensor(part[rows, series]))
    table = summary.table(2100, QUANTILES)
    exact = counts.astype(np.float64)
    np.testing.assert_allclose(table["mean"], exact.mean(0), rtol=1e-12)
    np.testing.assert_allclose(table["variance"], exact.var(0), rtol=1e-9)
    np.testing.assert_allclose(table["zeros"], (exact == 0).mean(0), rtol=1e-12)
    assert np.isnan(table["dispersion"][0])
    wanted = exact[:, 1:].var(0) / exact[:, 1:].mean(0)
    np.testing.assert_allclose(table["dispersion"][1:], wanted, rtol=1e-9)
    for q in QUANTILES:
        wanted = np.quantile(exact, q, axis=0, method="inverted_cdf")
        np.testing.assert_allclose(table[f"q{q:g}"], wanted, rtol=1 / 64)
        np.testing.assert_array_equal(table[f"q{q:g}"][:4], wanted[:4])


def test_a_constant_large_count_has_no_variance() -> None:
    summary = CountSummary(1)
    summary.add(torch.zeros(1000, dtype=torch.int64), torch.full((1000,), 1e6))
    assert summary.table(1000, ())["variance"].item() == 0


def test_predictive_counts_of_a_conjugate_model(
    conjugate: Callable[..., tuple[Model, Guide]],
    few: Batch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(draws_module, "CHUNK_NUMBERS", 4 * 5 * 3000)
    names, features = [f"x{i}" for i in range(5)], list("abcd")
    n = 40_000
    found = summarise(*conjugate(), [few], names, features, n, (0.5, 0.95))
    share = np.array([0.5, 0.3, 0.15, 0.05])
    shape, rate = 3 + few.library.numpy(), 1.5
    counts = stats.nbinom(shape[:, None], rate / (rate + share))  # observation, feature
    mean, variance, zero = counts.mean(), counts.var(), counts.pmf(0)
    for table, axis, index in ((found.features, 0, features), (found.observations, 1, names)):
        assert list(table.index) == index
        total = variance.mean(axis) + mean.var(axis)
        np.testing.assert_allclose(table["mean"], mean.mean(axis), rtol=0.02)
        np.testing.assert_allclose(table["variance"], total, rtol=0.05)
        np.testing.assert_allclose(table["zeros"], zero.mean(axis), atol=0.005)
        np.testing.assert_allclose(table["dispersion"], total / mean.mean(axis), rtol=0.05)
        for q in (0.5, 0.95):
            below = counts.cdf(np.arange(60)[:, None, None]).mean(axis + 1)
            np.testing.assert_array_equal(table[f"q{q:g}"], (below >= q).argmax(0))


def test_a_run_summarises_by_name(run: Run, adata: AnnData) -> None:
    summary = run.predictive(adata, 50, quantiles=[0.1, 0.9], chunk_size=33)
    columns = ["mean", "variance", "zeros", "dispersion", "q0.1", "q0.9"]
    assert list(summary.features.columns) == list(summary.observations.columns) == columns
    assert list(summary.features.index) == list(adata.var_names)
    assert list(summary.observations.index) == list(adata.obs_names)
    assert summary.features["mean"].mean() == pytest.approx(summary.observations["mean"].mean())
    with pytest.raises(ValueError, match=r"quantile 1\.5"):
        run.predictive(adata, quantiles=[1.5])
    with pytest.raises(ValueError, match="num_samples is 0"):
        run.predictive(adata, 0)


# The most memory that a process has held: how much it grows from 200 draws to 600, and then (to
# show that it would be seen) for 600 draws that are kept. Each time a chunk of draws is full.
SCRIPT = """
import re, torch
from pathlib import Path
from vae4counts.data import Batch
from vae4counts.guides import guide_for
from vae4counts.inference.posterior import draws
from vae4counts.inference.posterior.arviz_export import to_arviz
from vae4counts.inference.posterior.samplers import FromGuide
from vae4counts.inference.posterior.predictive_summary import summarise
from vae4counts.models import VAE
torch.manual_seed(0)
draws.CHUNK_NUMBERS = 2**19
counts = torch.poisson(torch.full((64, 200), 0.3))
batch = Batch.of_counts(counts.to_sparse_csr(), counts.sum(1), torch.arange(64), 64)
model = VAE(200).eval()
guide = guide_for(model).eval()
names = [str(i) for i in range(200)]
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
summarise(model, guide, [batch], names[:64], names, 200, [0.5])
few = peak()
summarise(model, guide, [batch], names[:64], names, 600, [0.5])
many = peak()
to_arviz(model, FromGuide(model, guide), [batch], names[:64], names, 600, ["counts"])
print(many - few, peak() - many)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_draws() -> None:
    command = [sys.executable, "-c", SCRIPT]
    # what is freed goes back to the system at once, or the allocator's gaps would be measured too
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    output = subprocess.run(  # noqa: S603
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout
    grown, kept = map(int, output.split())
    one_group = 600 * 64 * 200 * 4 / 1024  # 31 MB
    assert kept > 1.5 * one_group
    assert grown < 0.1 * one_group
