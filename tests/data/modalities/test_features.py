"""Features are chosen in one modality; the others stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

from vae4counts.data import MultiData, UnknownName, features_of, frequent_features, top_features


@pytest.mark.filterwarnings("ignore:.* no counts at all:UserWarning")
def test_features_of_a_modality(multi: MultiData) -> None:
    multi["protein"].X = np.array([[9.0, 0], [0, 0], [1, 0], [1, 2]])
    some = frequent_features(multi, 2, modality="protein")
    assert features_of(some) == ["A", "B", "rna:CD4", "protein:CD4"]
    assert list(some.obs_names) == list(multi.obs_names)
    assert features_of(top_features(multi, 1, modality="rna"))[1:] == ["CD4", "CD8"]
    assert some.source is some
    for wrong in (None, "prot"):
        with pytest.raises(UnknownName, match=r"no modality .*Name it with modality="):
            top_features(multi, 1, modality=wrong)


@pytest.mark.filterwarnings("ignore:.* no counts at all:UserWarning")
def test_words_of_an_anndata(with_arrays: AnnData) -> None:
    with_arrays.obsm["X_umap"] = np.zeros((5, 2))
    with_arrays.obsm["words"] = sp.csr_matrix(np.eye(5, 4) + np.eye(5, 4, -2)[:, ::-1])
    some = frequent_features(with_arrays, 2, modality="words")
    assert list(some.mod) == ["counts", "beta", "words", "sites"]
    assert list(some["words"].var_names) == ["dog"]  # absent observations have no words
    assert some.source is with_arrays
