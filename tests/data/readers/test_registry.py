from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from anndata import AnnData

from vae4counts.data import READERS, DataError, Reader, accepted_formats, load
from vae4counts.data.readers.registry import find_reader


@pytest.fixture
def readers() -> Iterator[dict[str, Reader]]:
    """The registry, without what a test adds to it once the test is over."""
    before = dict(READERS)
    yield READERS
    READERS.clear()
    READERS.update(before)


def read_foo(path: Path) -> AnnData:
    """A made-up format: a line of numbers for each observation."""
    return AnnData(np.loadtxt(path, dtype=np.float32, ndmin=2))


def test_a_reader_from_outside_is_one_line(readers: dict[str, Reader], tmp_path: Path) -> None:
    path = tmp_path / "x.foo"
    path.write_text("1 0\n2 3\n")
    with pytest.raises(DataError, match=r"Cannot tell from its name what .*x\.foo holds"):
        load(path)
    readers["foo"] = Reader("Foo's counts", read_foo, (".foo",))
    assert load(path).X.tolist() == [[1, 0], [2, 3]]
    assert "Foo's counts (.foo)" in accepted_formats()
    with pytest.raises(DataError, match=r"Accepted: .*Foo's counts \(\.foo\)"):
        load(tmp_path / "absent.foo")
    with pytest.raises(DataError, match=r"x\.foo cannot stay on disk"):
        load(path, out_of_core=True)


def test_a_reader_from_outside_can_be_named(readers: dict[str, Reader], tmp_path: Path) -> None:
    readers["foo"] = Reader("Foo's counts", "vae4counts.data.readers.tables:read_table", (".foo",))
    (tmp_path / "x.foo").write_text("a,b\n1,0\n2,3\n")
    assert load(tmp_path / "x.foo").X.toarray().tolist() == [[1, 0], [2, 3]]


def test_a_reader_from_outside_can_stay_on_disk(readers: dict[str, Reader], tmp_path: Path) -> None:
    def open_foo(path: Path) -> AnnData:
        return AnnData(uns={"opened": path.name})

    readers["foo"] = Reader("Foo's counts", read_foo, (".foo",), opens=open_foo)
    (tmp_path / "x.foo").touch()
    assert load(tmp_path / "x.foo", out_of_core=True).uns["opened"] == "x.foo"


def test_content_decides_between_readers_of_one_suffix(
    readers: dict[str, Reader], tmp_path: Path
) -> None:
    def is_foo(path: Path) -> bool:
        return path.read_text().startswith("1 0")

    readers["foo"] = Reader("Foo's counts", read_foo, (".csv",), recognizes=is_foo)
    (tmp_path / "foo.csv").write_text("1 0\n2 3\n")
    (tmp_path / "table.csv").write_text("a,b\n5,0\n2,3\n")
    assert load(tmp_path / "foo.csv").X.tolist() == [[1, 0], [2, 3]]
    assert load(tmp_path / "table.csv").X.toarray().tolist() == [[5, 0], [2, 3]]


@pytest.mark.parametrize(
    ("name", "text", "reader"),
    [
        ("a.h5ad", "", "anndata"),
        ("a.csv", "a,b\n1,2\n", "table"),
        ("a.csv", "id,license,[cat]-[animal]\n1,2,3\n", "coco-table"),
        ("a.mtx.gz", "", "matrix-market"),
        ("matrix.mtx", "", "matrix-market"),
        ("a.tgz", "", None),
        ("A.MTX.GZ", "", "matrix-market"),
        ("A.Csv.Bz2", "a,b\n1,2\n", "table"),
        ("counts.tab", "a\tb\n1\t2\n", "table"),
        ("HiSeqV2", "sample\ts1\ts2\nTP53\t1\t2\n", "table"),
        ("notes.md", "No table, this,\nis text\n", None),
        ("a.json", "", "coco"),
        ("a.xlsx", "", None),
        ("csv", "", None),
    ],
)
def test_the_reader_of_a_file(tmp_path: Path, name: str, text: str, reader: str | None) -> None:
    (tmp_path / name).write_text(text)
    assert find_reader(tmp_path / name) is READERS.get(str(reader))


def test_the_reader_of_a_folder(tmp_path: Path) -> None:
    for name, reader in (("a", "10x-folder"), ("a.zarr", "anndata"), ("a.b", "10x-folder")):
        (tmp_path / name).mkdir()
        assert find_reader(tmp_path / name) is READERS[reader]
    (tmp_path / "a" / "matrix.mtx").touch()
    (tmp_path / "a" / "barcodes.tsv").touch()
    assert find_reader(tmp_path / "a" / "matrix.mtx") is READERS["named-matrix"]


def test_the_formats_are_listed_with_their_suffixes() -> None:
    text = accepted_formats()
    for reader in READERS.values():
        assert reader.title in text
        assert all(suffix in text for suffix in reader.suffixes)
    on_disk = "a MuData file (.h5mu), an AnnData store (.h5ad, .zarr)"
    assert accepted_formats(out_of_core=True) == on_disk


def test_listing_formats_and_methods_imports_nothing_slow() -> None:
    program = (
        "import sys, vae4counts.data\n"
        "from vae4counts.data.readers.registry import accepted_formats\n"
        "assert '.h5ad' in accepted_formats()\n"
        "slow = {'torch', 'anndata', 'h5py', 'scanpy', 'zarr'}\n"
        "assert not slow & set(sys.modules)\n"
        "assert not {'numpy', 'pandas', 'scipy'} & set(sys.modules)\n"
        "assert 'deviance' in vae4counts.data.FEATURE_SCORES\n"
        "assert not slow & set(sys.modules)"
    )
    done = subprocess.run(  # noqa: S603 (our own interpreter and program)
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
