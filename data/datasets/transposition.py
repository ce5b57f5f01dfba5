"""Counts that arrive in blocks of features and are stored by observation, in little memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import h5py
import numpy as np
import scipy.sparse as sp

from vae4counts.data.counts.feature_scores import deviance
from vae4counts.data.counts.matrix import CountMatrix

STRIPE_SIZE = 256  # observations that are written or read at a time


class TransposedCounts:
    """A table of counts that is filled by features and read by observations, through a file.

    Args:
        file: An empty file, open for reading and writing; takes 4 bytes for each count.
        n_observations: The number of observations ``N``.

    Attributes:
        features: Names of the features so far.
        library: Total count of each observation so far, shape ``(N,)``.
    """

    def __init__(self, file: IO[bytes], n_observations: int) -> None:
        self._file = file
        self._widths: list[int] = []
        self._n_nonzero = np.zeros(n_observations, dtype=np.int64)
        self.features: list[str] = []
        self.library = np.zeros(n_observations, dtype=np.int64)

    def append(self, features: list[str], counts: np.ndarray) -> None:
        """Add the next features.

        Args:
            features: ``B`` names.
            counts: Shape ``(B, N)``, int32.
        """
        self.library += counts.sum(0, dtype=np.int64)
        self._n_nonzero += np.count_nonzero(counts, axis=0)
        self.features += features
        self._widths.append(len(features))
        np.ascontiguousarray(counts.T).tofile(self._file)

    def deviance(self) -> np.ndarray:
        """Return the deviance of every feature, as `top_features` measures it."""
        blocks = self._blocks(0, len(self.library))
        checked = (CountMatrix.from_checked(sp.csr_matrix(b), self.library) for b in blocks)
        return np.concatenate([deviance(counts) for counts in checked])

    def write_csr(self, path: Path) -> None:
        """Add the counts to an ``.h5ad`` file as ``X``, a stripe of observations at a time."""
        indptr = np.concatenate([[0], np.cumsum(self._n_nonzero)])
        n = len(self.library)
        with h5py.File(path, "r+") as file:
            file.pop("X", None)  # some releases of anndata may write that there is none
            group = file.create_group("X")
            group.attrs["encoding-type"] = "csr_matrix"
            group.attrs["encoding-version"] = "0.1.0"
            group.attrs["shape"] = np.array([n, len(self.features)], dtype=np.int64)
            # both index arrays have one type in SciPy: the narrow one if the counts allow it
            kind = np.int32 if indptr[-1] <= np.iinfo(np.int32).max else np.int64
            group["indptr"] = indptr.astype(kind)
            data = group.create_dataset("data", (indptr[-1],), np.int32)
            indices = group.create_dataset("indices", (indptr[-1],), kind)
            for start in range(0, n, STRIPE_SIZE):
                stop = min(start + STRIPE_SIZE, n)
                stripe = sp.csr_matrix(np.hstack(list(self._blocks(start, stop))))
                data[indptr[start] : indptr[stop]] = stripe.data
                indices[indptr[start] : indptr[stop]] = stripe.indices

    def _blocks(self, start: int, stop: int) -> Iterator[np.ndarray]:
        """Yield the counts of some observations, a block of features after the other."""
        size = np.dtype(np.int32).itemsize
        rows, before = stop - start, 0
        for width in self._widths:
            self._file.seek((before * len(self.library) + start * width) * size)
            yield np.fromfile(self._file, np.int32, rows * width).reshape(rows, width)
            before += width
