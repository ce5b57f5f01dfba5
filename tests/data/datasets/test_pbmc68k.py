from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from vae4counts.data import DataError, load, load_pbmc68k
from vae4counts.data.datasets.pbmc68k import CELL_TYPES, MATRIX

CELLS = np.array([[0, 2, 1], [3, 0, 0], [0, 0, 4], [1, 1, 1]])  # cells x genes
BARCODES = ["AAAC-1", "CCCG-1", "AAAC-2", "TTTA-1"]
TYPES = ["CD19+ B", "CD56+ NK", "CD14+ Monocyte", "CD34+"]


def put_matrix(folder: Path, barcodes: list[str] = BARCODES) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scipy.io.mmwrite(folder / "matrix.mtx", sp.coo_matrix(CELLS.T))
    (folder / "genes.tsv").write_text("ENSG1\tMIR1302-10\nENSG2\tFAM138A\nENSG3\tOR4F5\n")
    (folder / "barcodes.tsv").write_text("\n".join(barcodes) + "\n")


def put_types(folder: Path, barcodes: list[str] = BARCODES, end: str = "\n") -> None:
    lines = ["TSNE.1\tTSNE.2\tbarcodes\tcelltype"]
    for number, barcode in reversed(list(enumerate(barcodes))):
        lines.append(f"{number}.5\t-{number}\t{barcode}\t{TYPES[number]}")
    (folder / CELL_TYPES.name).write_bytes((end.join(lines) + end).encode())


def pack(folder: Path) -> None:
    put_matrix(folder / "filtered_matrices_mex" / "hg19")
    with tarfile.open(folder / MATRIX.name, "w:gz") as archive:
        archive.add(folder / "filtered_matrices_mex", "filtered_matrices_mex")
    (folder / "filtered_matrices_mex").rename(folder / "elsewhere")


@pytest.mark.parametrize("form", ["files", "folder", "tar.gz"])
def test_from_every_form(tmp_path: Path, form: str) -> None:
    if form == "tar.gz":
        pack(tmp_path)
    else:
        put_matrix(tmp_path / ("." if form == "files" else "filtered_matrices_mex/hg19"))
    put_types(tmp_path)
    for _ in range(2):  # the second time from what the first has unpacked
        adata = load_pbmc68k(tmp_path, offline=True)
        np.testing.assert_array_equal(adata.X.toarray(), CELLS)
        assert list(adata.obs_names) == BARCODES
        assert list(adata.var_names) == ["MIR1302-10", "FAM138A", "OR4F5"]
        assert adata.var["gene_ids"].tolist() == ["ENSG1", "ENSG2", "ENSG3"]
        assert adata.obs["celltype"].tolist() == TYPES
        assert adata.obsm["X_tsne"].tolist() == [[0.5, 0], [1.5, -1], [2.5, -2], [3.5, -3]]


@pytest.mark.parametrize("bare", ["matrix", "types", "both"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_barcodes_with_and_without_their_group(tmp_path: Path, bare: str, end: str) -> None:
    short = [barcode.removesuffix("-1") for barcode in BARCODES]
    put_matrix(tmp_path, BARCODES if bare == "types" else short)
    put_types(tmp_path, BARCODES if bare == "matrix" else short, end)
    assert load_pbmc68k(tmp_path).obs["celltype"].tolist() == TYPES


def test_the_unmatched_are_reported_and_kept(tmp_path: Path) -> None:
    put_matrix(tmp_path)
    put_types(tmp_path, ["AAAC-1", "GGGG-1", "AAAC-2", "TTTT-1"])
    with pytest.warns(UserWarning, match="observations have") as caught:
        adata = load_pbmc68k(tmp_path)
    said = [str(each.message) for each in caught if issubclass(each.category, UserWarning)]
    assert said == [
        "2 of 4 observations have no cell type: CCCG-1, TTTA-1",
        "2 of 4 observations have a cell type, but no counts: TTTT-1, GGGG-1",
    ]
    assert adata.n_obs == 4
    assert adata.obs["celltype"].isna().tolist() == [False, True, False, True]
    assert adata.obs["celltype"].tolist()[2] == "CD14+ Monocyte"


def test_repeated_barcodes(tmp_path: Path) -> None:
    put_matrix(tmp_path, ["AAAC", "CCCG-1", "AAAC-1", "TTTA-1"])
    put_types(tmp_path)
    with pytest.raises(DataError, match="The counts have the barcode AAAC-1 twice"):
        load_pbmc68k(tmp_path)
    put_matrix(tmp_path)
    put_types(tmp_path, ["AAAC-1", "CCCG-1", "AAAC-1"])
    with pytest.raises(DataError, match=r"annotation\.tsv, line 4: repeats 'AAAC-1' of line 2"):
        load_pbmc68k(tmp_path)


def test_broken_cell_types(tmp_path: Path) -> None:
    put_matrix(tmp_path)
    put_types(tmp_path)
    path = tmp_path / CELL_TYPES.name
    text = path.read_bytes()
    for damaged, message in {
        text.replace(b"celltype", b"type"): "line 1: has no column 'celltype'",
        text.replace(b"\tCD56+ NK", b""): "line 4: has 3 values for 4 columns",
        text.replace(b"NK", b"N\xff"): "line 4: byte 0xff at position 21 is not UTF-8",
        text.replace(b"1.5", b"1,5"): "the map is not made of numbers: .*'1,5'",
    }.items():
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=message):
            load_pbmc68k(tmp_path)


def test_a_truncated_archive_leaves_nothing(tmp_path: Path) -> None:
    pack(tmp_path)
    put_types(tmp_path)
    path = tmp_path / MATRIX.name
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=f"Cannot unpack {path}"):
        load_pbmc68k(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    path.write_bytes(whole)
    assert load_pbmc68k(tmp_path).n_obs == 4


def test_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VAE4COUNTS_DATA", str(tmp_path))
    with pytest.raises(DataError) as caught:
        load("pbmc68k", offline=True)
    for word in (MATRIX.name, MATRIX.url, str(tmp_path / "pbmc68k")):
        assert word in str(caught.value)
    put_matrix(tmp_path / "pbmc68k")
    put_types(tmp_path / "pbmc68k")
    assert load("pbmc68k", offline=True).shape == (4, 3)
