"""Writing .h5ad and .h5mu files so that a full disk is an error like any other."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import h5py
    from anndata import AnnData

    from vae4counts.data import MultiData


def write_h5ad(adata: AnnData, path: Path) -> None:
    """Write an AnnData to a compressed .h5ad file, as `AnnData.write_h5ad` does.

    HDF5 crashes the process where it cannot write what it holds to close a file. So it is told
    that all went well, and the error is raised once the file is closed.

    Args:
        adata: The data; text in ``obs`` and ``var`` becomes categorical.
        path: The file, which is replaced if it exists.

    Raises:
        OSError: The file cannot be written whole; what was written is left.
    """
    from anndata.io import write_elem

    _with_plain_text(adata)
    with _new_file(path) as file:
        write_elem(file, "/", adata, dataset_kwargs={"compression": "gzip"})


def write_h5mu(data: MultiData, path: Path) -> None:
    """Write several modalities to an .h5mu file, as `vae4counts.data.write_h5mu` does.

    Args:
        data: The data; text in tables becomes categorical.
        path: The file, which is replaced if it exists.

    Raises:
        OSError: See `write_h5ad`.
    """
    from vae4counts.data.modalities.h5mu import HEADER, USER_BLOCK, write_parts

    for adata in data.mod.values():
        _with_plain_text(adata)
    with _new_file(path, USER_BLOCK) as file:
        write_parts(data, file)
    with path.open("r+b") as plain:
        plain.write(HEADER)


def _with_plain_text(adata: AnnData) -> None:
    adata.strings_to_categoricals()
    if adata.raw is not None:
        adata.strings_to_categoricals(adata.raw.var)


@contextmanager
def _new_file(path: Path, user_block: int = 0) -> Iterator[h5py.File]:
    import h5py

    with _UncomplainingFile(path, "w+b") as plain:
        with (
            h5py.File(plain, "w", userblock_size=user_block) as file,
            warnings.catch_warnings(),
        ):
            # of what later versions of anndata will not write, such as "/" in names
            warnings.simplefilter("ignore", FutureWarning)
            yield file
        if plain.error is not None:
            raise plain.error


class _UncomplainingFile(io.FileIO):
    """A file whose writes never fail, and which keeps the first error.

    Attributes:
        error: The error; None as long as there was none.
    """

    error: OSError | None = None

    def write(self, data: bytes) -> int:  # type: ignore[override]  # any buffer
        """Write all bytes, or nothing more once an error has occurred."""
        rest = memoryview(data).cast("B")
        total = len(rest)
        try:
            while len(rest) and self.error is None:
                rest = rest[super().write(rest) :]
        except OSError as error:
            self.error = error
        return total

    def truncate(self, size: int | None = None) -> int:
        """Change the file's size, unless an error has occurred."""
        try:
            return super().truncate(size) if self.error is None else 0
        except OSError as error:
            self.error = error
            return 0
