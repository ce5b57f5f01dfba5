"""A run adapted to new levels of its covariates: only what belongs to them changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

from vae4counts.data import DataError, UnknownName
from vae4counts.guides import Encoder, Guide, guide_for
from vae4counts.inference import Run, SplitOptions, adapt, fit
from vae4counts.inference.fitting.adapt import adaptation_epochs
from vae4counts.inference.fitting.new_levels import ExtendedPair
from vae4counts.inference.fitting.plan import default_epochs
from vae4counts.inference.run.fitted_pair import pair_of
from vae4counts.models import GMVAE, VAE, Covariates, Model
from vae4counts.models.library import LatentLibrary
from vae4counts.models.likelihoods import NegativeBinomial
from vae4counts.models.networks import MLPDecoder
from vae4counts.models.networks.batch_norm import BatchNorm
from vae4counts.models.priors import GaussianMixture, StandardNormal

QUICK: dict[str, Any] = {"progress": False, "device": "cpu"}
N_FEATURES = 8


def made(batches: str, n: int = 60, seed: int = 0) -> AnnData:
    """Observations of two groups in batches that each have a feature of their own."""
    rng = np.random.default_rng(seed)
    batch, group = np.repeat(list(batches), n), rng.integers(2, size=n * len(batches))
    rates = np.full((len(batch), N_FEATURES), 2.0)
    rates[:, :3] += 8.0 * (group[:, None] == 0)
    for number, name in enumerate("abcd"):
        rates[batch == name, 4 + number] *= 6.0
    obs = pd.DataFrame(
        {
            "batch": batch,
            "day": np.array(["1", "2"])[rng.integers(2, size=len(batch))],
            "mito": rng.normal(3.0, 2.0, size=len(batch)),
            "group": np.array(["x", "y"])[group],
        },
        [f"{name}{i}" for i, name in enumerate(batch)],
    )
    var = pd.DataFrame(index=[f"gene{j}" for j in range(N_FEATURES)])
    return AnnData(rng.poisson(rates).astype(np.float32), obs, var)


def plain(data: AnnData) -> tuple[Model, Guide]:
    covariates = Covariates.of(data, ["batch", "day"], ["mito"])
    model = VAE(N_FEATURES, StandardNormal(2), decoder=MLPDecoder((6,)), covariates=covariates)
    return model, guide_for(model, encoder=Encoder((6,)))


def everything(data: AnnData) -> tuple[Model, Guide]:
    """Dispersions and libraries by level, an encoder that sees covariates, a mixture, dropout."""
    covariates = Covariates.of(data, ["day", "batch"], ["mito"])
    model = GMVAE(
        N_FEATURES,
        GaussianMixture(2, 2),
        NegativeBinomial(by="batch"),
        MLPDecoder((6, 5), dropout=0.2),
        LatentLibrary(by="batch"),
        covariates,
    )
    return model, guide_for(model, encoder=Encoder((6,), covariates=covariates))


def embedded(data: AnnData) -> tuple[Model, Guide]:
    covariates = Covariates.of(data, ["batch", "day"], embedding=1)
    model = VAE(N_FEATURES, StandardNormal(2), decoder="linear", covariates=covariates)
    return model, guide_for(model, encoder=Encoder((6,), norm="layer"))


PAIRS: dict[str, Callable[[AnnData], tuple[Model, Guide]]] = {
    "plain": plain,
    "everything": everything,
    "embedded": embedded,
}


def state_of(run: Run) -> dict[str, torch.Tensor]:
    return {n: v.clone() for n, v in pair_of(run.model, run.guide).state_dict().items()}


@pytest.fixture(scope="module")
def old() -> AnnData:
    return made("aab")


@pytest.fixture(scope="module")
def run(old: AnnData) -> Run:
    return fit(*plain(old), old, epochs=100, label="group", **QUICK)


@pytest.fixture(scope="module")
def adapted(run: Run) -> Run:
    return run.adapt(made("cb", seed=1), epochs=100, **QUICK)


@pytest.mark.parametrize("kind", PAIRS)
def test_only_what_belongs_to_new_levels_changes_bit_for_bit(kind: str, old: AnnData) -> None:
    run = fit(*PAIRS[kind](old), old, epochs=3, **QUICK)
    before, new = state_of(run), made("dbc", seed=1)
    new.obs.loc[new.obs.batch == "d", "day"] = "3"
    extended = ExtendedPair.of(run, {"batch": ["c", "d"], "day": ["3"]})
    adapted = adapt(run, new, epochs=3, **QUICK)
    after = state_of(adapted)
    assert after.keys() == before.keys()
    assert extended.is_new
    for name, value in before.items():
        assert torch.equal(value, state_of(run)[name]), name  # the run is left as it is
        if name not in extended.is_new:
            assert torch.equal(after[name], value), name
            continue
        kept = after[name][~extended.is_new[name]]
        assert torch.equal(kept, value.flatten()), name
        started = pair_of(extended.model, extended.guide).state_dict()[name]
        assert not torch.equal(after[name], started), name


def test_the_model_is_the_same_function_of_old_observations(
    run: Run, adapted: Run, old: AnnData
) -> None:
    first, second = run.on(old), adapted.on(old)
    assert np.array_equal(first.summary()[0], second.summary()[0])
    for at in (None, {"batch": "a"}, {"batch": "b", "day": "2", "mito": 1.0}):
        rates = [on.interpret().holding(at).denoised().to_numpy() for on in (first, second)]
        # a product with further columns, which are zero, may be summed in another order
        np.testing.assert_allclose(*rates, rtol=1e-5)


def test_a_new_level_starts_as_the_average_of_the_old_ones(run: Run) -> None:
    model = ExtendedPair.of(run, {"batch": ["c"]}).model
    weight, old = model.decoder.output.weight, run.model.decoder.output.weight
    share = sum(s for s, batch, _ in run.model.covariates.combinations if batch == 0)
    mean = share * old[:, 6] + (1 - share) * old[:, 7]
    assert torch.allclose(weight[:, 8], mean)
    assert torch.equal(weight[:, 9:], old[:, 8:])  # of day and mito
    assert 0.6 < share < 0.72


def test_the_effect_of_a_new_batch_is_found(run: Run, adapted: Run) -> None:
    new = made("c", seed=2)
    on = adapted.on(new)
    look = on.interpret()
    rates = {level: look.holding({"batch": level}).denoised().mean() for level in "abc"}
    fold = np.log2(rates["c"] / rates["a"])
    assert fold["gene6"] > 1.5  # c's own feature, six times as frequent
    assert fold["gene4"] < -1.5  # a's own
    assert fold[["gene0", "gene1", "gene2", "gene3"]].abs().max() < 0.7
    start = ExtendedPair.of(run, {"batch": ["c"]})
    unadapted = Run(**{**vars(adapted), "model": start.model.eval(), "guide": start.guide.eval()})
    gain = adapted.evaluate(new).iw_log_likelihood - unadapted.evaluate(new).iw_log_likelihood
    assert gain > 0.5


def test_it_comes_near_a_fit_that_had_the_batch_from_the_start(adapted: Run, old: AnnData) -> None:
    both = ad.concat([old, made("cb", seed=1)])
    both.obs_names_make_unique()
    whole = fit(*plain(both), both, epochs=100, **QUICK)
    new = made("c", n=200, seed=2)
    # of the models: the encoder of one has not seen the batch
    first, second = (
        each.log_likelihoods(new, 100, refine=True).log_likelihood.mean()
        for each in (adapted, whole)
    )
    assert first > second - 0.02 * abs(second)


def test_an_adapted_run_is_a_run_of_its_own(
    run: Run, adapted: Run, old: AnnData, tmp_path: Path
) -> None:
    new = made("cb", seed=1)
    assert adapted.knows(new)
    assert not adapted.knows(old)
    assert adapted.covariate_columns["batch"] == ["a", "b", "c"]
    source = adapted.settings["adapted_from"]
    assert source["fingerprint"] == run.fingerprint
    assert source["levels"] == {"batch": 2, "day": 2}
    assert source["new_levels"] == {"batch": ["c"]}
    assert adapted.label == "group"
    adapted.evaluate(new, num_samples=5)
    adapted.save(tmp_path / "run")
    loaded = Run.load(tmp_path / "run")
    assert loaded.settings["adapted_from"] == source
    assert all(torch.equal(v, state_of(loaded)[n]) for n, v in state_of(adapted).items())
    again = loaded.adapt(made("d", seed=3), epochs=1, **QUICK)
    assert again.covariate_columns["batch"] == ["a", "b", "c", "d"]
    assert again.settings["adapted_from"]["settings"]["adapted_from"] == source


def test_the_same_call_gives_the_same_run_and_leaves_the_random_state(run: Run) -> None:
    new, before = made("c", seed=1), torch.get_rng_state()
    first, second = (run.adapt(new, epochs=2, **QUICK) for _ in range(2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(v, state_of(second)[n]) for n, v in state_of(first).items())
    assert all(each.requires_grad for each in first.model.parameters())


def test_features_are_matched_by_name(run: Run) -> None:
    new = made("c", seed=1)
    turned = new[:, ::-1].copy()
    with pytest.warns(UserWarning, match="matched by name"):
        other = run.adapt(turned, epochs=2, **QUICK)
    first = run.adapt(new, epochs=2, **QUICK)
    assert all(torch.equal(v, state_of(other)[n]) for n, v in state_of(first).items())


def test_a_library_of_a_new_level_has_its_moments(old: AnnData) -> None:
    run = fit(*everything(old), old, epochs=1, **QUICK)
    new = made("c", n=200, seed=1)
    new.X = 3 * new.X
    adapted = run.adapt(new, epochs=1, **QUICK)
    logs = np.log(np.asarray(new.X).sum(1)[adapted.split.train])
    assert adapted.model.library.loc[2].item() == pytest.approx(logs.mean(), rel=1e-4)
    assert adapted.model.library.scale[2].item() == pytest.approx(logs.std(), rel=1e-3)


def test_data_that_cannot_be_adapted_to_are_one_clear_error(run: Run, old: AnnData) -> None:
    with pytest.raises(DataError, match=r"knows all levels of 'batch' and 'day'.*run.evaluate"):
        run.adapt(made("ab", seed=1), **QUICK)
    lacking = made("c")
    del lacking.obs["day"]
    with pytest.raises(UnknownName, match="day"):
        run.adapt(lacking, **QUICK)
    missing = made("c")
    missing.obs.loc[missing.obs_names[3], "batch"] = None
    with pytest.raises(DataError, match=r"'batch' has no value at row 3.*'a', 'b', 'c'"):
        run.adapt(missing, **QUICK)
    few = made("c")
    few.obs.loc[few.obs_names[0], "batch"] = "d"
    few.obs["part"] = ["test", *(["train"] * 50), *(["validation"] * 9)]
    with pytest.raises(DataError, match="new level 'd' of 'batch' has no observation"):
        run.adapt(few, split=SplitOptions(column="part"), **QUICK)
    model = VAE(N_FEATURES, StandardNormal(2))
    without = fit(model, guide_for(model), old, epochs=1, **QUICK)
    with pytest.raises(DataError, match="no categorical covariate"):
        without.adapt(made("c"), **QUICK)


def test_it_takes_a_tenth_of_the_observations_of_a_fit() -> None:
    passes = adaptation_epochs(8000, 2000, 2000) * 2000
    whole = default_epochs(10_000, 2000) * 10_000
    assert passes == pytest.approx(whole / 10, rel=0.05)
    assert adaptation_epochs(10**6, 100, 2000) == default_epochs(100, 2000)
    assert adaptation_epochs(10, 10**6, 2000) == 1


def test_frozen_batch_normalisation_keeps_to_its_running_moments() -> None:
    layer, inputs = BatchNorm(3), 5.0 + torch.randn(20, 3)
    layer.requires_grad_(False)
    assert torch.allclose(layer(inputs), inputs, rtol=1e-4)  # of mean 0 and variance 1
    assert layer.rows_seen == 0
    layer.requires_grad_()
    assert layer(inputs).mean().abs() < 1e-4
