"""Differential expression: against numpy on the same draws, and on simulated groups."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts.data import DataError, UnknownName
from vae4counts.inference import Run
from vae4counts.inference.interpretation import Interpretation, NotInModelError, pair_on_data
from vae4counts.inference.interpretation.differential import discoveries
from vae4counts.inference.interpretation.observation_groups import group_mask
from vae4counts.inference.parallel.randomness import own_randomness
from vae4counts.models import VAE, CountMixture
from vae4counts.models.priors import StandardNormal

pytestmark = pytest.mark.slow

Look = Callable[..., Interpretation]
Experiments = list[tuple[AnnData, Run]]
TRUTH = [f"gene{j}" for j in range(12)]


def pairs_by_hand(view: Interpretation, first: np.ndarray, n: int) -> list[np.ndarray]:
    """The rates of the pairs that are compared: the same draws, decoded in numpy."""
    with own_randomness(torch.device("cpu"), view.seed):
        rows = [view.rows(mask, n) for mask in (first, ~first)]
        latents = [torch.cat([z for z, _ in view.draws(part)]) for part in rows]
    weight, bias = (p.detach().double().numpy() for p in view.model.decoder.output.parameters())
    rates = [np.exp(z.double().numpy() @ weight.T + bias) for z in latents]
    return [rate / rate.sum(1, keepdims=True) for rate in rates]


@pytest.fixture
def view(look: Look) -> Interpretation:
    return look(VAE(6, StandardNormal(2), decoder="linear"), seed=3)


@pytest.fixture
def first(view: Interpretation) -> np.ndarray:
    return (view.obs["group"] == 0).to_numpy()


def test_change_mode_by_hand(view: Interpretation, first: np.ndarray) -> None:
    one, other = pairs_by_hand(view, first, 400)
    counts = view.counts.library.numpy()
    epsilon = 1 / min(counts[first].sum(), counts[~first].sum())
    change = np.log2(one + epsilon) - np.log2(other + epsilon)
    probability = np.maximum((change >= 0.3).mean(0), (change < -0.3).mean(0))
    table = view.differential_expression("group", "0", delta=0.3, num_pairs=400).sort_index()
    np.testing.assert_allclose(table["proba_de"], probability, atol=1e-12)
    factor = np.log(probability + 1e-8) - np.log(1 - probability + 1e-8)
    np.testing.assert_allclose(table["bayes_factor"], factor, atol=1e-9)
    np.testing.assert_allclose(table["lfc_mean"], change.mean(0), atol=1e-5)
    np.testing.assert_allclose(table["lfc_std"], change.std(0), rtol=1e-4)
    np.testing.assert_allclose(table["lfc_min"], change.min(0), atol=1e-5)
    np.testing.assert_allclose(table["lfc_max"], change.max(0), atol=1e-5)
    np.testing.assert_allclose(table["scale1"], one.mean(0), rtol=1e-5)
    np.testing.assert_allclose(table["scale2"], other.mean(0), rtol=1e-5)
    np.testing.assert_allclose(table["pseudocounts"], epsilon)
    assert set(table["comparison"]) == {"0 vs rest"}


def test_vanilla_mode_by_hand(view: Interpretation, first: np.ndarray) -> None:
    one, other = pairs_by_hand(view, first, 400)
    probability = (one > other).mean(0)
    table = view.differential_expression(idx1=first, mode="vanilla", num_pairs=400).sort_index()
    np.testing.assert_allclose(table["proba_m1"], probability, atol=1e-12)
    factor = np.log(probability + 1e-8) - np.log(1 - probability + 1e-8)
    np.testing.assert_allclose(table["bayes_factor"], factor, atol=1e-9)
    assert "is_de_fdr_0.05" not in table


def test_raw_statistics(view: Interpretation, first: np.ndarray) -> None:
    counts = torch.cat([view.counts.batch(torch.arange(60)).counts.to_dense()]).numpy()
    table = view.differential_expression(idx1=first, num_pairs=50).sort_index()
    for number, mask in ((1, first), (2, ~first)):
        np.testing.assert_allclose(table[f"raw_mean{number}"], counts[mask].mean(0), rtol=1e-6)
        share = (counts[mask] > 0).mean(0)
        np.testing.assert_allclose(table[f"non_zeros_proportion{number}"], share, rtol=1e-6)


def test_chunks_make_no_difference_to_the_sums(
    view: Interpretation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many small chunks see other draws of the same posterior."""
    whole = view.differential_expression("group", "0", num_pairs=4000).sort_index()
    monkeypatch.setattr(pair_on_data, "CHUNK_ROWS", 37)
    parts = view.differential_expression("group", "0", num_pairs=4000).sort_index()
    np.testing.assert_allclose(parts["proba_de"], whole["proba_de"], atol=0.05)
    np.testing.assert_allclose(parts["scale1"], whole["scale1"], rtol=0.1)


def test_as_scvi_tools_on_the_same_draws(view: Interpretation, first: np.ndarray) -> None:
    scvi = pytest.importorskip("scvi", reason="scvi-tools is not installed")
    one, other = pairs_by_hand(view, first, 400)
    epsilon = 1 / min(view.counts.library[first].sum(), view.counts.library[~first].sum()).item()
    core = scvi.model.base._de_core
    computation = scvi.model.base._differential.DifferentialComputation.__new__(
        scvi.model.base._differential.DifferentialComputation
    )
    computation.representation_fn = None
    scales = {True: one, False: other}
    computation.scale_sampler = lambda selection, **_: {
        "scale": scales[bool(selection[0])],
        "batch": np.zeros(400),
    }
    options = {"use_permutation": False, "use_observed_batches": True, "m_permutation": None}
    mask = first if first[0] else ~first
    theirs = computation.get_bayes_factors(
        mask, ~mask, mode="change", delta=0.3, pseudocounts=epsilon, **options
    )
    ours = view.differential_expression(idx1=first, delta=0.3, num_pairs=400).sort_index()
    np.testing.assert_allclose(ours["proba_de"], theirs["proba_de"], atol=1e-12)
    np.testing.assert_allclose(ours["bayes_factor"], theirs["bayes_factor"], atol=1e-6)
    called = core._fdr_de_prediction(ours["proba_de"], fdr=0.2)
    np.testing.assert_array_equal(discoveries(ours["proba_de"].to_numpy(), 0.2), called)
    theirs = computation.get_bayes_factors(mask, ~mask, mode="vanilla", **options)
    ours = view.differential_expression(idx1=first, mode="vanilla", num_pairs=400).sort_index()
    np.testing.assert_allclose(ours["bayes_factor"], theirs["bayes_factor"], atol=1e-6)


def test_changed_genes_are_found(experiments: Experiments) -> None:
    false, calls = 0, 0
    for adata, run in experiments:
        table = run.interpret(adata).differential_expression("condition", "treated", "control")
        called = set(table.index[table["is_de_fdr_0.05"]])
        assert set(TRUTH) <= called
        false, calls = false + len(called - set(TRUTH)), calls + len(called)
        # odd genes rise by a factor of four, even ones fall
        change = table.loc[TRUTH, "lfc_mean"]
        assert (np.sign(change) == np.tile([-1, 1], 6)).all()
        assert change.abs().median() == pytest.approx(2, abs=0.5)  # the prior shrinks
        assert table["proba_de"].is_monotonic_decreasing
    assert false / calls <= 0.05


def test_groups_that_are_alike(experiments: Experiments) -> None:
    """Halves of a population of three types in two conditions: nothing differs between them."""
    for seed, (adata, run) in enumerate(experiments):
        half = np.random.default_rng(seed).random(adata.n_obs) < 0.5
        view = run.interpret(adata)
        table = view.differential_expression(idx1=half)
        assert not table["is_de_fdr_0.05"].any()
        assert table["proba_de"].max() < 0.6
        vanilla = view.differential_expression(idx1=half, mode="vanilla")
        assert vanilla["bayes_factor"].abs().max() < 0.5


def test_each_value_in_turn(view: Interpretation) -> None:
    table = view.differential_expression("group", num_pairs=50)
    assert list(table["comparison"].unique()) == ["0 vs rest", "1 vs rest", "2 vs rest"]
    assert len(table) == 18
    against = view.differential_expression("group", group2="1", num_pairs=50)
    assert list(against["comparison"].unique()) == ["0 vs 1", "2 vs 1"]
    joined = view.differential_expression("group", ["0", "2"], "1", num_pairs=50)
    assert set(joined["comparison"]) == {"0 + 2 vs 1"}


def test_the_same_question_has_the_same_answer(view: Interpretation) -> None:
    torch.manual_seed(5)
    once = view.differential_expression("group", "0", num_pairs=100)
    torch.manual_seed(6)
    state = torch.get_rng_state()
    pd.testing.assert_frame_equal(once, view.differential_expression("group", "0", num_pairs=100))
    assert torch.equal(torch.get_rng_state(), state)


def test_discoveries_by_hand() -> None:
    probabilities = np.array([0.2, 1.0, 0.9, 0.99, 0.85])
    # means of 1 - p of the likeliest: 0, 0.005, 0.037, 0.065, 0.212
    assert list(discoveries(probabilities, 0.05)) == [False, True, True, True, False]
    assert list(discoveries(probabilities, 0.1)) == [False, True, True, True, True]
    assert not discoveries(np.array([0.5, 0.3]), 0.05).any()


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({}, "give the groups either by groupby and group1, or by a mask idx1"),
        ({"groupby": "group", "idx1": np.ones(60, bool)}, "give the groups either"),
        ({"groupby": "type", "group1": "0"}, "no column 'type'.*'group'"),
        ({"groupby": "group", "group1": "7"}, r"no group in obs\['group'\] '7'.*'0', '1', '2'"),
        ({"groupby": "group", "group1": "0", "group2": "x"}, "'x'"),
        ({"groupby": "group", "group1": "0", "group2": ["0", "1"]}, "20 observations are in both"),
        ({"groupby": "group", "group1": ["0", "1", "2"]}, "none are left to compare"),
        ({"idx1": np.ones(59, bool)}, r"idx1 has shape \(59,\) but there are 60 observations"),
        ({"idx1": np.arange(60)}, "must be a boolean mask"),
        ({"idx1": np.zeros(60, bool)}, "idx1 selects no observation"),
        ({"idx1": pd.Series(np.ones(60, bool))}, "index is not that of the observations"),
        ({"groupby": "group", "group1": "0", "mode": "both"}, "one of vanilla, change"),
        ({"groupby": "group", "group1": "0", "num_pairs": 1}, "num_pairs must be 2"),
        ({"groupby": "group", "group1": "0", "fdr_target": 0.0}, "fdr_target"),
    ],
)
def test_questions_without_an_answer(
    asked: dict[str, Any], what: str, view: Interpretation
) -> None:
    with pytest.raises((DataError, UnknownName, ValueError), match=what) as caught:
        view.differential_expression(**asked)
    assert "\n" not in str(caught.value)


def test_a_mask_with_names_is_aligned(view: Interpretation, first: np.ndarray) -> None:
    named = pd.Series(first, index=view.obs.index)[::-1]
    wanted = view.differential_expression(idx1=first, num_pairs=50)
    pd.testing.assert_frame_equal(view.differential_expression(idx1=named, num_pairs=50), wanted)


def test_a_mixture_without_a_decoder(look: Look) -> None:
    with pytest.raises(NotInModelError, match="CountMixture has no latent space"):
        look(CountMixture(6, 2)).differential_expression("group", "0")


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (pd.array([True, None] * 30, dtype="boolean"), "idx1 is missing for 30 observations"),
        (np.arange(60) % 2, "idx1 holds int64: it must be a boolean mask"),
        (np.arange(5), r"idx1 has shape \(5,\)"),
        (np.zeros(60, dtype=bool), "idx1 selects no observation"),
    ],
)
def test_masks_that_select_nothing_clearly(view: Interpretation, mask: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        view.differential_expression(idx1=mask, num_pairs=10)


def test_masks_of_pandas_and_no_groups(view: Interpretation) -> None:
    mask = pd.array([True, False] * 30, dtype="boolean")
    assert len(view.differential_expression(idx1=mask, num_pairs=10)) == 6
    with pytest.raises(DataError, match=r"no group of .* is named: name one of 0, 1, 2"):
        view.differential_expression("group", [], num_pairs=10)


@pytest.mark.parametrize("kind", ["int64", "float64", "Int64", "category"])
@pytest.mark.parametrize("value", [1, 1.0, "1", "1.0", np.int64(1), [1], np.array([1.0])])
def test_groups_named_by_numbers(view: Interpretation, kind: str, value: Any) -> None:
    view.obs["number"] = view.obs["group"].astype(kind)
    wanted = (view.obs["group"] == 1).to_numpy()
    np.testing.assert_array_equal(group_mask(view.obs, "number", value), wanted)
