"""The file formats that `vae4counts.data.load` reads.

A reader is one file and one entry of `READERS`. Functions are named as ``"module:function"`` and
imported when they are needed, so that help texts can list the formats without importing anndata.
A reader of your own is one line::

    READERS["foo"] = Reader("Foo's counts", read_foo, (".foo",))
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anndata import AnnData

_HERE = "vae4counts.data.readers"


@dataclass(frozen=True, slots=True)
class Reader:
    """A file format, and the function that reads it.

    Attributes:
        title: What the format is called in help texts, with an article.
        reads: Function from a path to an AnnData of observations x features, or its name.
        suffixes: Ends of the names of such files; ``("",)`` for any name.
        recognizes: Function that looks into an existing file (or folder) and tells whether it is
            of this format, or its name; None if the suffix decides.
        opens: Like ``reads``, but leaves the counts on disk, as CSR; None if the format cannot.
    """

    title: str
    reads: str | Callable[[Path], AnnData]
    suffixes: tuple[str, ...]
    recognizes: str | Callable[[Path], bool] | None = None
    opens: str | Callable[[Path], AnnData] | None = None

    def accepts(self, path: Path) -> bool:
        """Tell whether an existing file or folder is of this format."""
        if not path.name.endswith(self.suffixes):
            return False
        return self.recognizes is None or bool(_function(self.recognizes)(path))

    def read(self, path: Path) -> AnnData:
        """Read a file into memory."""
        return _function(self.reads)(path)

    def open(self, path: Path) -> AnnData:
        """Open a file and leave its counts on disk; only for a format with ``opens``."""
        return _function(self.opens)(path)


# The last reader that accepts a file reads it: special formats come after general ones, and a
# reader that is added later comes before all of these.
READERS: dict[str, Reader] = {
    "10x-folder": Reader("a 10x folder", f"{_HERE}.tenx:read_10x", ("",), Path.is_dir),
    "10x-archive": Reader(
        "an archive of a 10x folder", f"{_HERE}.tenx:read_10x_archive", (".tar.gz", ".tgz", ".zip")
    ),
    "10x-hdf5": Reader("a 10x HDF5 file", f"{_HERE}.tenx:read_10x_h5", (".h5",)),
    "anndata": Reader(
        "an AnnData store",
        f"{_HERE}.anndata_store:read_store",
        (".h5ad", ".zarr"),
        opens=f"{_HERE}.anndata_store:open_store",
    ),
    "loom": Reader("a loom file", f"{_HERE}.loom:read_loom", (".loom",)),
    "matrix-market": Reader(
        "a Matrix Market file", f"{_HERE}.matrix_market:read_matrix_market", (".mtx", ".mtx.gz")
    ),
    "10x-matrix": Reader(
        "the matrix of a 10x folder",
        f"{_HERE}.tenx:read_10x_around",
        ("matrix.mtx", "matrix.mtx.gz"),
        recognizes=f"{_HERE}.tenx:is_10x_matrix",
    ),
    "table": Reader(
        "a table", f"{_HERE}.tables:read_table", (".csv", ".csv.gz", ".tsv", ".tsv.gz")
    ),
    "coco-table": Reader(
        "a table of COCO counts",
        f"{_HERE}.coco_table:read_coco_table",
        (".csv", ".csv.gz"),
        recognizes=f"{_HERE}.coco_table:is_coco_table",
    ),
    "coco": Reader("COCO instances", f"{_HERE}.coco:read_coco_instances", (".json", ".json.gz")),
}


def find_reader(path: Path, *, out_of_core: bool = False) -> Reader | None:
    """Return the reader of an existing file or folder; None if no reader accepts it.

    Args:
        path: The file or folder.
        out_of_core: Whether to consider only readers that can leave counts on disk.
    """
    able = [reader for reader in READERS.values() if reader.opens or not out_of_core]
    return next((reader for reader in reversed(able) if reader.accepts(path)), None)


def accepted_formats(*, out_of_core: bool = False) -> str:
    """List the formats with their suffixes, for messages and help texts.

    Args:
        out_of_core: Whether to list only the formats whose counts can stay on disk.
    """
    able = [reader for reader in READERS.values() if reader.opens or not out_of_core]
    return ", ".join(map(_described, able))


def _described(reader: Reader) -> str:
    suffixes = ", ".join(filter(None, reader.suffixes))
    return f"{reader.title} ({suffixes})" if suffixes else reader.title


def _function(function: Any) -> Callable[[Path], Any]:
    return resolve_name(function) if isinstance(function, str) else function
