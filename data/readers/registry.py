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

    from vae4counts.data.modalities.multi_data import MultiData

_HERE = "vae4counts.data.readers"


@dataclass(frozen=True, slots=True)
class Reader:
    """A file format, and the function that reads it.

    Attributes:
        title: What the format is called in help texts, with an article.
        reads: Function from a path to an AnnData of observations x features, or a `MultiData`; or
            its name.
        suffixes: Ends of the names of such files, in lower case and without that of a
            compression; ``""`` for any name.
        recognizes: Function that looks into an existing file (or folder) and tells whether it is
            of this format, or its name; None if the suffix decides.
        opens: Like ``reads``, but leaves the counts on disk, as CSR; None if the format cannot.
        unpacks: Whether ``reads`` takes compressed files; they are unpacked before it otherwise.
        has_orientation: Whether the format says which axis the observations are; otherwise names
            decide (see `load`).
    """

    title: str
    reads: str | Callable[[Path], AnnData | MultiData]
    suffixes: tuple[str, ...]
    recognizes: str | Callable[[Path], bool] | None = None
    opens: str | Callable[[Path], AnnData | MultiData] | None = None
    unpacks: bool = False
    has_orientation: bool = True

    def accepts(self, path: Path) -> bool:
        """Tell whether an existing file or folder is of this format.

        Case and the suffix of a compression make no difference.
        """
        from vae4counts.data.readers.compression import bare_name, is_compressed

        if not bare_name(path).endswith(self.suffixes):
            return False
        if not self.unpacks and is_compressed(path):
            return False
        return self.recognizes is None or bool(_function(self.recognizes)(path))

    def read(self, path: Path) -> AnnData | MultiData:
        """Read a file into memory."""
        return _function(self.reads)(path)

    def open(self, path: Path) -> AnnData | MultiData:
        """Open a file and leave its counts on disk; only for a format with ``opens``."""
        return _function(self.opens)(path)


# The last reader that accepts a file reads it: special formats come after general ones, and a
# reader that is added later comes before all of these.
READERS: dict[str, Reader] = {
    "table": Reader(
        "a table",
        f"{_HERE}.tables:read_table",
        (".csv", ".tsv", ".txt", ".gct", ""),
        f"{_HERE}.tables:is_table",
        unpacks=True,
        has_orientation=False,
    ),
    "10x-folder": Reader("a 10x folder", f"{_HERE}.tenx:read_10x", ("",), Path.is_dir),
    "10x-hdf5": Reader(
        "a 10x HDF5 file", f"{_HERE}.tenx:read_10x_h5", (".h5", ""), f"{_HERE}.stores:is_10x_hdf5"
    ),
    "mudata": Reader(
        "a MuData file",
        f"{_HERE}.mudata_file:read_mudata",
        (".h5mu", ""),
        f"{_HERE}.stores:is_mudata",
        opens=f"{_HERE}.mudata_file:open_mudata",
    ),
    "loom": Reader(
        "a loom file", f"{_HERE}.loom:read_loom", (".loom", ""), f"{_HERE}.stores:is_loom"
    ),
    "anndata": Reader(
        "an AnnData store",
        f"{_HERE}.anndata_store:read_store",
        (".h5ad", ".zarr", ""),
        f"{_HERE}.stores:is_anndata",
        opens=f"{_HERE}.anndata_store:open_store",
    ),
    "matrix-market": Reader(
        "a Matrix Market file",
        f"{_HERE}.matrix_market:read_matrix_market",
        (".mtx",),
        unpacks=True,
        has_orientation=False,
    ),
    "named-matrix": Reader(
        "a Matrix Market file with names beside it",
        f"{_HERE}.tenx:read_named_matrix",
        (".mtx",),
        f"{_HERE}.tenx:has_names",
        unpacks=True,
    ),
    "coco-table": Reader(
        "a table of COCO counts",
        f"{_HERE}.coco_table:read_coco_table",
        (".csv",),
        f"{_HERE}.coco_table:is_coco_table",
        unpacks=True,
    ),
    "xena": Reader(
        "UCSC Xena's table of counts, known by its name",
        f"{_HERE}.xena_file:read_xena_counts",
        ("",),
        f"{_HERE}.xena_file:is_xena_counts",
        unpacks=True,
    ),
    "coco": Reader("COCO instances", f"{_HERE}.coco:read_coco_instances", (".json",), unpacks=True),
}
_COMPRESSED = "each may be compressed (.gz, .bz2, .xz) or in an archive (.zip, .tar)"


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
    listed = ", ".join(map(_described, able))
    return listed if out_of_core else f"{listed}; {_COMPRESSED}"


def _described(reader: Reader) -> str:
    suffixes = ", ".join(filter(None, reader.suffixes))
    return f"{reader.title} ({suffixes})" if suffixes else reader.title


def _function(function: Any) -> Callable[[Path], Any]:
    return resolve_name(function) if isinstance(function, str) else function
