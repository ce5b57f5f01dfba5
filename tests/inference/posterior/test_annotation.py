"""Results where scanpy looks for them, and data whose features are not quite the model's."""

from __future__ import annotations

import dataclasses
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData
from matplotlib import pyplot as plt
from matplotlib.colors import to_hex
from sklearn.neighbors import NearestNeighbors

from vae4counts.data import DataError
from vae4counts.data.counts.layers import layer_names
from vae4counts.guides import Encoder, guide_for
from vae4counts.inference import Run, fit
from vae4counts.inference.plots.layout import UMAP_AXES, two_dimensions
from vae4counts.inference.posterior.annotation import slots_of
from vae4counts.inference.report.figures import latent as draw_latent
from vae4counts.inference.report.subject import Subject
from vae4counts.models import GMVAE, VAE, CountMixture
from vae4counts.models.priors import GaussianMixture, StandardNormal

pytestmark = pytest.mark.slow


def made_data() -> AnnData:
    """Three groups of 40 cells."""
    rng = np.random.default_rng(0)
    group = np.arange(120) % 3
    rates = np.full((3, 9), 0.5) + np.kron(np.eye(3), np.full((1, 3), 5.0))
    obs = pd.DataFrame({"group": np.array(list("abc"))[group]}, [f"cell{i}" for i in range(120)])
    var = pd.DataFrame(index=[f"gene{j}" for j in range(9)])
    return AnnData(rng.poisson(rates[group]).astype(np.float32), obs, var)


def fitted_to(adata: AnnData) -> Run:
    """A run with a linear decoder and more components than there are groups."""
    torch.manual_seed(0)
    model = GMVAE(9, GaussianMixture(3, 5), decoder="linear")
    guide = guide_for(model, encoder=Encoder((16,)))
    settings: dict[str, Any] = {"epochs": 10, "batch_size": 16, "progress": False, "device": "cpu"}
    return fit(model, guide, adata, learning_rate=1e-2, seed=4, **settings)


@pytest.fixture(scope="module")
def fitted() -> tuple[Run, AnnData]:
    """A run, and the data that it was fitted to."""
    adata = made_data()
    return fitted_to(adata), adata


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    plt.close("all")


def test_scanpy_takes_it_as_it_is(fitted: tuple[Run, AnnData], tmp_path: Path) -> None:
    run, adata = fitted[0], fitted[1].copy()
    run.annotate(adata, denoised=True)
    assert set(adata.obs["component"].cat.categories) == set(adata.obs["component"].astype(str))
    adata.write_h5ad(tmp_path / "annotated.h5ad")
    adata = anndata.read_h5ad(tmp_path / "annotated.h5ad")
    with warnings.catch_warnings():  # scanpy's own, of matplotlib's newer releases and of threads
        warnings.simplefilter("ignore")
        import scanpy as sc

        sc.pp.neighbors(adata, use_rep="X_vae", n_neighbors=10)
        sc.tl.umap(adata, maxiter=20)
        axes = sc.pl.umap(adata, color=["component", "component_entropy"], show=False)
        sc.pl.umap(adata, color="gene0", layer="denoised", show=False)
        sc.pp.log1p(adata)
        sizes = adata.obs["component"].value_counts()
        # of single observations there is no test
        several = adata[adata.obs["component"].isin(sizes.index[sizes > 1])].copy()
        sc.tl.rank_genes_groups(several, "component", method="t-test")
        # here, where numba has compiled most of UMAP, which takes twenty seconds
        groups = np.repeat([0.0, 9.0], 20)
        latents = np.random.default_rng(0).normal(groups[:, None], size=(40, 3))
        plane, names = two_dimensions(latents)
    assert len(axes) == 2
    assert names == UMAP_AXES
    near = NearestNeighbors(n_neighbors=5).fit(plane).kneighbors(return_distance=False)
    assert (groups[near] == groups[:, None]).all()
    assert len(adata.uns["component_colors"]) == adata.obs["component"].nunique()


def test_second_annotation_replaces_the_first(fitted: tuple[Run, AnnData]) -> None:
    run, adata = fitted[0], fitted[1].copy()
    run.annotate(adata)
    adata.uns["component_colors"] = ["red"]
    before = adata.obs["component"].copy()
    adata.obs["component"] = "old"
    run.annotate(adata)
    pd.testing.assert_series_equal(adata.obs["component"], before)
    assert len(adata.uns["component_colors"]) == before.nunique()


def test_another_model_leaves_nothing_of_the_first(fitted: tuple[Run, AnnData]) -> None:
    run, adata = fitted[0], fitted[1].copy()
    run.annotate(adata, denoised=True)
    adata.layers["mine"] = adata.X.copy()
    model = VAE(adata.n_vars, StandardNormal(2))
    plain = fit(model, guide_for(model), adata, epochs=1, progress=False, device="cpu")
    plain.annotate(adata)
    assert not {"component", "component_entropy"} & set(adata.obs)
    assert list(adata.obsm) == ["X_vae"]
    assert layer_names(adata) == ["mine"]
    assert not adata.varm
    adata.obs["component"] = "mine"
    with pytest.raises(DataError, match="rename"):
        run.annotate(adata)
    assert list(adata.obsm) == ["X_vae"]


OWN: dict[str, Any] = {
    "obs/component": ["mine"] * 120,
    "obs/component_entropy": [0.5] * 120,
    "obsm/X_vae": np.full((120, 2), 7.0),
    "obsm/responsibilities": pd.DataFrame({"mine": 7.0}, index=made_data().obs_names),
    "varm/loadings": np.full((9, 2), 7.0),
    "layers/denoised": np.full((120, 9), 7.0),
    "uns/vae4counts": "mine",
}


def state(adata: AnnData) -> dict[str, Any]:
    """Everything that an annotation could change, in a form that compares."""
    slots = ("obsm", "varm", "layers", "uns")
    content = {slot: {k: str(v) for k, v in getattr(adata, slot).items()} for slot in slots}
    return {"obs": adata.obs.to_csv(), **content}


@pytest.mark.parametrize("slot", OWN)
def test_nothing_of_the_users_own_is_overwritten(
    slot: str, fitted: tuple[Run, AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, adata = fitted[0], fitted[1].copy()
    where, name = slot.split("/")
    getattr(adata, where)[name] = OWN[slot]
    before = state(adata)
    monkeypatch.setattr(type(run.on(adata)), "summary", None)  # it is found before any work
    with pytest.raises(DataError, match=rf"{where}\['{name}'\] exists already.*rename"):
        run.annotate(adata, denoised=True)
    assert state(adata) == before


def test_all_that_is_in_the_way_is_named_at_once(fitted: tuple[Run, AnnData]) -> None:
    run, adata = fitted[0], fitted[1].copy()
    for slot, value in OWN.items():
        where, name = slot.split("/")
        getattr(adata, where)[name] = value
    with pytest.raises(DataError, match=r"obsm\['X_vae'\], .*, uns\['vae4counts'\] exist "):
        run.annotate(adata)


def test_a_record_cannot_point_at_what_is_not_ours(fitted: tuple[Run, AnnData]) -> None:
    """As in a file that was made elsewhere."""
    run, adata = fitted[0], fitted[1].copy()
    adata.uns["vae4counts"] = {"model": "GMVAE", "written": np.array(["obs/group", "nonsense"])}
    run.annotate(adata)
    assert list(adata.obs) == ["group", "component", "component_entropy"]


@pytest.mark.parametrize("annotated_before", [False, True])
@pytest.mark.parametrize("where", ["obs", "obsm", "varm", "layers"])
@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_an_error_halfway_leaves_the_data_as_they_were(
    error: type[BaseException],
    where: str,
    annotated_before: bool,
    fitted: tuple[Run, AnnData],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, adata = fitted[0], fitted[1].copy()
    if annotated_before:
        run.annotate(adata, denoised=True)
        adata.obs["component"] = "an earlier one"
        adata.uns["component_colors"] = ["red"]
    before = state(adata)

    def assign(self: Any, name: str, value: Any) -> None:
        """Fail at the first assignment to one of the slots."""
        if f"{where}/{name}" in OWN:
            raise error
        kept(self, name, value)

    kind = type(getattr(adata, where))
    kept = kind.__setitem__
    with monkeypatch.context() as patch:
        patch.setattr(kind, "__setitem__", assign)
        with pytest.raises(error):
            run.annotate(adata, denoised=True)
    assert state(adata) == before
    run.annotate(adata, denoised=True)
    assert state(adata) != before


@pytest.mark.parametrize("data", [np.ones((3, 9)), pd.DataFrame(np.ones((3, 9))), "x.h5ad"])
def test_only_an_anndata_can_be_annotated(data: Any, fitted: tuple[Run, AnnData]) -> None:
    with pytest.raises(DataError, match=f"or a MuData, not a {type(data).__name__}"):
        fitted[0].annotate(data)


def test_settings_of_numpy_are_recorded(fitted: tuple[Run, AnnData]) -> None:
    run, adata = fitted[0], fitted[1].copy()
    settings = {**run.settings, "learning_rate": np.float32(0.5), "epochs": np.int64(3)}
    dataclasses.replace(run, settings=settings).annotate(adata)
    record = json.loads(adata.uns["vae4counts"]["settings"])
    assert (record["learning_rate"], record["epochs"]) == (0.5, 3)


class FirstTwo:
    """Stands for UMAP, which takes long to import."""

    def __init__(self, **_: Any) -> None: ...

    def fit_transform(self, latents: np.ndarray) -> np.ndarray:
        return latents[:, :2]


def test_scanpy_draws_what_our_pictures_show(
    fitted: tuple[Run, AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FirstTwo))
    run, adata = fitted[0], fitted[1].copy()
    on = run.on(adata, label="group")
    on.annotate(layout=True)
    subject = Subject(on)
    figure = draw_latent(subject)
    assert figure is not None
    for ax, column in zip(figure.axes, ("group", "component"), strict=True):
        classes = adata.obs[column].astype("category")
        colours = adata.uns[f"{column}_colors"]
        assert len(colours) == len(classes.cat.categories)
        wanted = dict(zip(classes.cat.categories, map(to_hex, colours), strict=True))
        dots = [each for each in ax.collections if len(each.get_offsets())]
        drawn = {to_hex(each.get_facecolor()[0][:3]): each.get_offsets() for each in dots}
        assert set(drawn) == set(wanted.values())
        for name, colour in wanted.items():
            np.testing.assert_allclose(drawn[colour], adata.obsm["X_umap"][classes == name])


def test_a_layout_and_colours_of_the_users_own_stay(
    fitted: tuple[Run, AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=FirstTwo))
    run, adata = fitted[0], fitted[1].copy()
    own = np.full((adata.n_obs, 2), 7.0)
    adata.obsm["X_umap"], adata.uns["group_colors"] = own, ["red", "lime", "blue"]
    on = run.on(adata, label="group")
    for _ in range(2):
        on.annotate(layout=True)
        np.testing.assert_array_equal(adata.obsm["X_umap"], own)
        assert adata.uns["group_colors"] == ["red", "lime", "blue"]
        np.testing.assert_array_equal(adata.obsm["X_vae_umap"], adata.obsm["X_vae"][:, :2])
    assert Subject(on).class_colours == {"a": "#ff0000", "b": "#00ff00", "c": "#0000ff"}
    run.annotate(adata)
    assert "X_vae_umap" not in adata.obsm


def test_what_is_written_is_known_before_training(fitted: tuple[Run, AnnData]) -> None:
    for model in (
        GMVAE(9, GaussianMixture(3, 5), decoder="linear"),
        GMVAE(9, GaussianMixture(3, 5)),
        VAE(9, StandardNormal(2)),
        CountMixture(9, 2),
    ):
        adata = made_data()
        wanted = slots_of(model)
        settings: dict[str, Any] = {"epochs": 1, "progress": False, "device": "cpu"}
        fit(model, guide_for(model), adata, **settings).annotate(adata)
        assert adata.uns["vae4counts"]["written"] == wanted


def test_a_model_without_components_leaves_such_a_column_alone() -> None:
    adata = made_data()
    adata.obs["component"] = "mine"
    model = VAE(9)
    settings: dict[str, Any] = {"epochs": 1, "progress": False, "device": "cpu"}
    fit(model, guide_for(model), adata, **settings).annotate(adata)
    assert (adata.obs["component"] == "mine").all()
    assert "X_vae" in adata.obsm


def test_what_cannot_be_done_leaves_nothing_half_written() -> None:
    adata = made_data()
    model = CountMixture(9, 2)
    run = fit(model, guide_for(model), adata, epochs=1, progress=False, device="cpu")
    with pytest.raises(ValueError, match="no latent space"):
        run.annotate(adata, denoised=True)
    assert "component" not in adata.obs
    run.annotate(adata)


def test_layer_on_request(fitted: tuple[Run, AnnData]) -> None:
    run, adata = fitted[0], fitted[1].copy()
    run.annotate(adata)
    assert "denoised" not in adata.layers
    run.annotate(adata, denoised=True)
    wanted = run.interpret(adata).denoised()
    np.testing.assert_array_equal(adata.layers["denoised"], wanted)


def test_features_are_aligned_with_a_message(fitted: tuple[Run, AnnData]) -> None:
    run, adata = fitted[0], fitted[1].copy()
    adata.obs_names = [f"new{i}" for i in range(120)]  # other data, not those of the fit
    wanted = run.interpret(adata).denoised()
    shuffled = adata[:, adata.var_names[::-1]].copy()
    with pytest.warns(UserWarning, match="not in the model's order: they are matched by name"):
        found = run.interpret(shuffled).denoised()
    pd.testing.assert_frame_equal(found, wanted)
    extra = AnnData(np.ones((120, 2)), adata.obs, pd.DataFrame(index=["x", "y"]))
    wider = anndata.concat([extra, shuffled], axis="var", merge="same")
    with pytest.warns(UserWarning, match="matched by name"):
        run.annotate(wider, denoised=True)
    assert np.isnan(wider.layers["denoised"][:, :2]).all()
    np.testing.assert_allclose(wider.layers["denoised"][:, :1:-1], wanted, rtol=1e-6)
    table = run.loadings()
    assert table is not None
    np.testing.assert_array_equal(wider.varm["loadings"][:1:-1], table)
    with pytest.raises(DataError, match=r"2 of the model's 9 features .* missing.*'gene0'"):
        run.interpret(adata[:, 2:].copy())


def test_fit_turns_the_latents(
    fitted: tuple[Run, AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loadings and latents together have the signs of the convention, and nothing else differs."""
    run, adata = fitted[0], fitted[1].copy()
    monkeypatch.setattr(sys.modules[fit.__module__], "orient_signs", lambda *_: None)
    as_trained, other = fitted_to(adata), adata.copy()
    run.annotate(adata)
    as_trained.annotate(other)
    loadings, before = adata.varm["loadings"], other.varm["loadings"]
    signs = np.sign(before[np.abs(before).argmax(0), range(3)])
    assert (signs < 0).any()  # or the test would say nothing
    np.testing.assert_allclose(loadings, before * signs, atol=1e-6)
    np.testing.assert_allclose(adata.obsm["X_vae"], other.obsm["X_vae"] * signs, atol=1e-6)
    assert (loadings.max(0) >= -loadings.min(0)).all()
    with torch.no_grad():
        shares = run.model.decoder(torch.as_tensor(adata.obsm["X_vae"])).softmax(-1)
        wanted = as_trained.model.decoder(torch.as_tensor(other.obsm["X_vae"])).softmax(-1)
    torch.testing.assert_close(shares, wanted)
