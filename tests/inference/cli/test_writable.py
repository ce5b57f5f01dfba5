"""What an .h5ad file cannot hold is found, named and left out; all else is written."""

from __future__ import annotations

import datetime
from collections import OrderedDict
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from vae4counts.data.counts.layers import layer_names
from vae4counts.inference.cli.h5ad import write_h5ad
from vae4counts.inference.cli.writable import entry_name, unwritable_entries, without_entries

N = 90


def written(adata: ad.AnnData, path: Path, *, counts: bool = True) -> tuple[ad.AnnData, set[str]]:
    """The data as they come back from a file, and the names of what was left out."""
    entries = unwritable_entries(adata, counts=counts)
    write_h5ad(without_entries(adata, entries, counts=counts), path)
    return ad.read_h5ad(path), {entry_name(entry) for entry in entries}


@pytest.fixture
def odd(counts: ad.AnnData) -> ad.AnnData:
    """Counts with an entry that HDF5 cannot hold in several slots, beside some that it can."""
    counts.obs["mixed"] = [i if i % 2 else "odd" for i in range(counts.n_obs)]
    counts.obs["text"] = [None, *["some"] * (counts.n_obs - 1)]
    counts.raw = counts.copy()
    counts.var["when"] = pd.Timestamp("2026-01-01")
    counts.obsm["pca"] = np.ones((counts.n_obs, 2))
    counts.obsm["frame"] = pd.DataFrame({"_index": 1.0, "one": 1.0}, index=counts.obs_names)
    counts.varp["a/b"] = np.ones((counts.n_vars, counts.n_vars))
    counts.uns["one"] = object()
    counts.uns["pca"] = {"variance": np.ones(2), "params": {"solver": len, "n": 2}}
    counts.layers["raw"] = counts.X.copy()
    counts.layers["counts/raw"] = counts.X.copy()
    return counts


FOUND = {
    "obs['mixed']",
    "var['when']",
    "obsm['frame']['_index']",
    "varp['a/b']",
    "uns['one']",
    "uns['pca']['params']['solver']",
}


@pytest.mark.parametrize("with_counts", [True, False])
def test_what_cannot_be_written_is_left_out_by_name(
    odd: ad.AnnData, with_counts: bool, tmp_path: Path
) -> None:
    again, lost = written(odd, tmp_path / "kept.h5ad", counts=with_counts)
    assert lost == FOUND | ({"layers['counts/raw']"} if with_counts else set())
    assert list(again.obs) == ["group", "text"]
    assert again.obs["text"].isna().sum() == 1
    assert list(again.var) == []
    assert set(again.obsm) == {"pca", "frame"}
    assert list(again.obsm["frame"]) == ["one"]
    assert set(again.uns["pca"]) == {"variance", "params"}
    assert set(again.uns["pca"]["params"]) == {"n"}
    assert "one" not in again.uns
    assert (again.X is not None) == with_counts
    if with_counts:
        assert (again.X != odd.X).nnz == 0
        assert layer_names(again) == ["raw"]
        assert (again.layers["raw"] != odd.X).nnz == 0
        assert again.raw.shape == odd.raw.shape
    assert set(odd.obs) == {"group", "mixed", "text"}, "the data themselves keep all"
    assert odd.uns["pca"]["params"]["solver"] is len


def test_nothing_is_copied(counts: ad.AnnData) -> None:
    kept = without_entries(counts, unwritable_entries(counts), counts=True)
    assert kept.X is counts.X
    pd.testing.assert_frame_equal(kept.obs, counts.obs)


def test_raw_loses_a_column(counts: ad.AnnData, tmp_path: Path) -> None:
    """As SeuratDisk leaves it: a column with the name that anndata gives to the index."""
    counts.raw = counts.copy()
    counts.raw.var["_index"] = "x"
    counts.raw.var["symbol"] = counts.raw.var_names.str.upper()
    again, lost = written(counts, tmp_path / "kept.h5ad")
    assert lost == {"raw['var']['_index']"}
    assert list(again.raw.var) == ["symbol"]
    assert (again.raw.X != counts.X).nnz == 0


def text(*, missing: bool) -> list[str | None]:
    return [None if missing and not i else f"w{i}" for i in range(N)]


COLUMNS: dict[str, tuple[Any, bool]] = {
    "pandas' text": (pd.array(text(missing=False), dtype="string"), True),
    "pandas' text with a gap": (pd.array(text(missing=True), dtype="string"), True),
    "pandas' text, repeated": (pd.array(["a", "b", None] * 30, dtype="string"), True),
    "pandas' later text": (
        pd.array(text(missing=True), dtype=pd.StringDtype("python", na_value=np.nan)),
        True,
    ),
    "nothing but gaps in text": (pd.array([None] * N, dtype="string"), True),
    "categories of pandas' text": (
        pd.Categorical(pd.array(text(missing=True), dtype="string")),
        True,
    ),
    "whole numbers with a gap": (pd.array([1, None, 3] * 30, dtype="Int64"), True),
    "truth values with a gap": (pd.array([True, None, False] * 30, dtype="boolean"), True),
    "complex numbers": (np.ones(N, complex), True),
    "bytes": ([b"x"] * N, True),
    "nothing": ([None] * N, False),
    "numbers, text and gaps": ([1, "a", None] * 30, False),
    "objects": ([object()] * N, False),
    "lists": ([[1]] * N, False),
    "dates": (pd.date_range("2026-01-01", periods=N), False),
    "dates of a zone": (pd.date_range("2026-01-01", periods=N, tz="UTC"), False),
    "times": (pd.timedelta_range("1D", periods=N), False),
    "periods": (pd.period_range("2026", periods=N, freq="M"), False),
    "intervals": (pd.cut(np.arange(N), 3), False),
    "categories of text and numbers": (pd.Categorical([1, "a"] * 45), False),
    "categories of dates": (pd.Categorical(pd.date_range("2026-01-01", periods=N)), False),
    "sparse": (pd.arrays.SparseArray([0, 1] * 45), False),
    "text that ends early": (["a\0b", "c"] * 45, False),
    "half a character": (["a\udc80", "c"] * 45, False),
}


@pytest.mark.parametrize("slot", ["obs", "obsm", "uns"])
@pytest.mark.parametrize("kind", COLUMNS)
def test_a_column_of_any_type(kind: str, slot: str, counts: ad.AnnData, tmp_path: Path) -> None:
    values, is_written = COLUMNS[kind]
    table = pd.DataFrame({"fine": np.arange(N), "k": values}, index=counts.obs_names)
    if slot == "obs":
        counts.obs = table
    else:
        getattr(counts, slot)["table"] = table
    again, lost = written(counts, tmp_path / "kept.h5ad")
    name = "obs['k']" if slot == "obs" else f"{slot}['table']['k']"
    assert lost == (set() if is_written else {name})
    found = again.obs if slot == "obs" else getattr(again, slot)["table"]
    assert list(found["fine"]) == list(range(N))
    if is_written and kind != "bytes":
        assert list(found["k"].isna()) == list(table["k"].isna())
        known = table["k"].notna().to_numpy()
        assert list(found["k"][known].astype(str)) == list(table["k"][known].astype(str))


# A setting that anndata 0.11 does not have yet, and that is on from 0.13 on.
NO_SLASHES = "disallow_forward_slash_in_h5ad"
NAMES: dict[Any, bool] = {
    "CD4/CD8": not getattr(ad.settings, NO_SLASHES, False),
    "é ü": True,
    "_index": False,
    "/first": False,
    "": False,
    ".": False,
    1: False,
    ("a", "b"): False,
    None: False,
    "a\0b": False,
}


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_column_of_any_name(name: Any, counts: ad.AnnData, tmp_path: Path) -> None:
    counts.obs[name] = np.arange(N)
    (name_there,) = counts.obs.columns[1:]  # pandas 3 makes None nan
    again, lost = written(counts, tmp_path / "kept.h5ad")
    assert lost == (set() if NAMES[name] else {f"obs[{name_there!r}]"})
    assert list(again.obs) == ["group", *([name] if NAMES[name] else [])]


@pytest.mark.parametrize("name", ["CD4/CD8", "/first", "", ".", 1, None, "a\0b"], ids=repr)
@pytest.mark.parametrize("slot", ["layers", "obsm", "uns"])
def test_an_entry_of_a_name_that_leads_elsewhere(
    name: Any, slot: str, counts: ad.AnnData, tmp_path: Path
) -> None:
    if (slot, name) == ("layers", None):
        pytest.skip("X, from anndata 0.13 on")
    getattr(counts, slot)["fine"] = counts.X.toarray()
    getattr(counts, slot)[name] = counts.X.toarray()
    again, lost = written(counts, tmp_path / "kept.h5ad")
    assert lost == {f"{slot}[{name!r}]"}
    assert (layer_names(again) if slot == "layers" else list(getattr(again, slot))) == ["fine"]


@pytest.mark.skipif(not hasattr(ad.settings, NO_SLASHES), reason="anndata 0.11")
def test_slashes_are_refused_by_later_versions_of_anndata(
    counts: ad.AnnData, tmp_path: Path
) -> None:
    counts.obs["CD4/CD8"] = "a"
    with ad.settings.override(**{NO_SLASHES: True}):
        again, lost = written(counts, tmp_path / "kept.h5ad")
    assert lost == {"obs['CD4/CD8']"}
    assert list(again.obs) == ["group"]


def test_names_that_do_not_go_together(counts: ad.AnnData, tmp_path: Path) -> None:
    counts.obs["CD4"] = 1.0
    counts.obs["CD4/CD8"] = 2.0
    counts.obs = pd.concat([counts.obs, counts.obs[["CD4"]].set_axis(["group"], axis=1)], axis=1)
    again, lost = written(counts, tmp_path / "kept.h5ad")
    assert lost == {"obs['CD4/CD8']", "obs['group']"}
    assert list(again.obs) == ["CD4"]


INDICES: dict[str, tuple[Callable[[], Any], Callable[[int], str]]] = {
    "numbers": (lambda: pd.RangeIndex(N), str),
    "numbers and text": (lambda: pd.Index([*range(N - 1), "a"]), lambda i: str(i)),
    "a gap": (lambda: pd.Index([*map(str, range(N - 1)), np.nan]), str),
    "pandas' text": (lambda: pd.Index(pd.array(text(missing=False), dtype="string")), "w{}".format),
    "dates": (
        lambda: pd.date_range("2026-01-01", periods=N),
        lambda i: str(pd.Timestamp("2026-01-01") + pd.Timedelta(days=i)),
    ),
    "pairs": (lambda: pd.MultiIndex.from_product([range(N), ["a"]]), "({}, 'a')".format),
    "text that ends early": (lambda: pd.Index([f"{i}\0" for i in range(N)]), r"{}\0".format),
    "all the same": (lambda: pd.Index(["cell"] * N), lambda _: "cell"),
    "named by a number": (lambda: pd.Index([str(i) for i in range(N)], name=5), str),
    "named as a column": (lambda: pd.Index([str(i) for i in range(N)], name="group"), str),
}


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize("kind", INDICES)
def test_names_of_observations_become_text(kind: str, counts: ad.AnnData, tmp_path: Path) -> None:
    make, wanted = INDICES[kind]
    counts.obs.index = make()
    counts.obsm["frame"] = pd.DataFrame({"one": 1.0}, index=counts.obs.index)
    again, lost = written(counts, tmp_path / "kept.h5ad")
    assert lost == set()
    assert list(again.obs_names)[: N - 1] == [wanted(i) for i in range(N - 1)]
    assert list(again.obs["group"]) == list(counts.obs["group"])
    assert list(again.obsm["frame"].index) == list(again.obs_names)


def endless() -> dict[str, Any]:
    inside: dict[str, Any] = {"fine": 1}
    inside["itself"] = inside
    return inside


VALUES: dict[str, tuple[Any, set[str]]] = {
    "nothing": (None, set()),
    "a list": ([1, 2], set()),
    "another mapping": (OrderedDict(a={"b": 1}), set()),
    "a table": (pd.DataFrame({"a": [1]}), set()),
    "a tuple": ((1, 2), {"uns['k']"}),
    "a set": ({1}, {"uns['k']"}),
    "a date": (datetime.date(2026, 1, 1), {"uns['k']"}),
    "a function": (len, {"uns['k']"}),
    "unequal lists": ([[1], [2, 3]], {"uns['k']"}),
    "text with a gap": (np.array(["a", None], dtype=object), {"uns['k']"}),
    "a series": (pd.Series([1]), {"uns['k']"}),
    "numbers as keys": ({1: 2, "fine": 3}, {"uns['k'][1]"}),
    "slashes below": ({"a/b": {"c": 1}, "fine": 3}, {"uns['k']['a/b']"}),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_of_uns(kind: str, counts: ad.AnnData, tmp_path: Path) -> None:
    value, wanted = VALUES[kind]
    if value is None and version("anndata").startswith("0.11."):
        wanted = {"uns['k']"}
    counts.uns["k"], counts.uns["fine"] = value, 1
    again, lost = written(counts, tmp_path / "kept.h5ad")
    assert lost == wanted
    assert again.uns["fine"] == 1
    assert ("k" in again.uns) == (wanted != {"uns['k']"})


def test_a_mapping_without_end(counts: ad.AnnData, tmp_path: Path) -> None:
    counts.uns["k"] = endless()
    again, lost = written(counts, tmp_path / "kept.h5ad")
    assert len(lost) == 1
    assert again.uns["k"]["itself"]["fine"] == 1


ARRAYS: dict[str, Any] = {
    "dates": np.ones((N, 2), "M8[D]"),
    "objects": np.array([["a", 1], ["b", None]] * 45, dtype=object),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_arrays(kind: str, counts: ad.AnnData, tmp_path: Path) -> None:
    counts.obsm["k"] = ARRAYS[kind]
    counts.layers["k"] = np.repeat(ARRAYS[kind], 6, axis=1)
    again, lost = written(counts, tmp_path / "kept.h5ad")
    assert lost == {"obsm['k']", "layers['k']"}
    assert (again.X != counts.X).nnz == 0


def test_counts_that_cannot_be_written_cost_themselves(counts: ad.AnnData, tmp_path: Path) -> None:
    counts.layers["fine"] = counts.X.copy()
    counts.raw = ad.AnnData(ARRAYS["objects"], counts.obs)
    counts.X = np.repeat(ARRAYS["objects"], 6, axis=1)
    again, lost = written(counts, tmp_path / "kept.h5ad")
    assert lost == {"X", "raw['X']"}
    assert again.X is None
    assert again.raw is None
    assert (again.layers["fine"] != counts.layers["fine"]).nnz == 0
