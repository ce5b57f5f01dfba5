from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp

from vae4counts.data import CountMatrix, DataError, load

CELLS = np.array([[0, 2, 1], [3, 0, 0]])  # cells x genes


def put(path: Path, text: str) -> None:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def put_matrix(path: Path, matrix: np.ndarray) -> None:
    plain = path.with_name("plain.mtx")
    scipy.io.mmwrite(plain, sp.coo_matrix(matrix))
    put(path, plain.read_text())
    plain.unlink()


@pytest.fixture(params=[1, 2, 3])
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """What Cell Ranger writes: version 1 and 2 plain, from 3 on compressed, with types."""
    if request.param < 3:
        put_matrix(tmp_path / "matrix.mtx", CELLS.T)
        put(tmp_path / "genes.tsv", "ENSG1\tNA\nENSG2\tTBCE\nENSG3\tTBCE\n")
        put(tmp_path / "barcodes.tsv", "AAA-1\nCCC-1\n")
    else:
        kind = "Gene Expression"
        put_matrix(tmp_path / "matrix.mtx.gz", CELLS.T)
        put(
            tmp_path / "features.tsv.gz",
            f"ENSG1\tNA\t{kind}\nENSG2\tTBCE\t{kind}\nENSG3\tTBCE\t{kind}\n",
        )
        put(tmp_path / "barcodes.tsv.gz", "AAA-1\nCCC-1\n")
    return tmp_path


def test_folder(folder: Path) -> None:
    adata = load(folder)
    np.testing.assert_array_equal(adata.X.toarray(), CELLS)
    assert (adata.X.format, adata.X.dtype) == ("csr", np.int32)
    assert list(adata.obs_names) == ["AAA-1", "CCC-1"]
    assert list(adata.var_names) == ["NA", "TBCE", "TBCE-1"]
    assert adata.var["gene_ids"].tolist() == ["ENSG1", "ENSG2", "ENSG3"]
    if (folder / "features.tsv.gz").exists():
        assert adata.var["feature_types"].tolist() == ["Gene Expression"] * 3
    CountMatrix.from_anndata(adata)


def test_matrix_in_its_folder_is_not_transposed(folder: Path) -> None:
    (path,) = folder.glob("matrix.mtx*")
    assert list(load(path).obs_names) == ["AAA-1", "CCC-1"]


def test_missing_part_is_named(folder: Path) -> None:
    (path,) = folder.glob("barcodes.tsv*")
    path.unlink()
    with pytest.raises(DataError, match=r"not a 10x folder: it has no barcodes\.tsv"):
        load(folder)


def test_sizes_must_agree(tmp_path: Path) -> None:
    put_matrix(tmp_path / "matrix.mtx", CELLS)
    put(tmp_path / "genes.tsv", "a\nb\nc\nd\ne\n")
    put(tmp_path / "barcodes.tsv", "x\ny\n")
    message = r"2 x 3 counts, but genes\.tsv names 5 features and barcodes\.tsv names 2 cells"
    with pytest.raises(DataError, match=message):
        load(tmp_path)


def test_genes_with_ids_only(tmp_path: Path) -> None:
    put_matrix(tmp_path / "matrix.mtx", CELLS.T)
    put(tmp_path / "genes.tsv", "a\nb\nc\n")
    put(tmp_path / "barcodes.tsv", "x\ny\n")
    assert list(load(tmp_path).var_names) == ["a", "b", "c"]


def test_names_that_are_repeated_or_not_utf8(folder: Path) -> None:
    (path,) = folder.glob("barcodes.tsv*")
    put(path, "AAA-1\r\nAAA-1\r\n")
    assert list(load(folder).obs_names) == ["AAA-1", "AAA-1-1"]
    data = b"AAA-1\n\xe9\xe9\n"
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    with pytest.raises(DataError, match=r"barcodes\.tsv.* line 2 is not UTF-8"):
        load(folder)


def write_h5(path: Path, version: int) -> None:
    """What Cell Ranger writes as HDF5: genomes side by side before version 3, one matrix since."""
    matrix = sp.csr_matrix(CELLS)
    parts = {"data": matrix.data, "indices": matrix.indices, "indptr": matrix.indptr}
    with h5py.File(path, "w") as file:
        group = file.create_group("GRCh38" if version < 3 else "matrix")
        for name, part in parts.items():
            group[name] = part
        group["shape"] = np.array([3, 2], dtype=np.int32)
        group["barcodes"] = np.array([b"AAA-1", b"CCC-1"])
        names, ids = np.array([b"NA", b"TBCE", b"TBCE"]), np.array([b"ENSG1", b"ENSG2", b"ENSG3"])
        if version < 3:
            group["gene_names"], group["genes"] = names, ids
        else:
            kind = np.array([b"Gene Expression"] * 3)
            features = group.create_group("features")
            features["name"], features["id"], features["feature_type"] = names, ids, kind
            features["genome"] = np.array([b"GRCh38"] * 3)


@pytest.mark.parametrize("version", [2, 3])
def test_h5(tmp_path: Path, version: int) -> None:
    write_h5(tmp_path / "filtered.h5", version)
    adata = load(tmp_path / "filtered.h5")
    np.testing.assert_array_equal(adata.X.toarray(), CELLS)
    assert (adata.X.format, adata.X.dtype) == ("csr", np.int32)
    assert list(adata.obs_names) == ["AAA-1", "CCC-1"]
    assert list(adata.var_names) == ["NA", "TBCE", "TBCE-1"]
    assert adata.var["gene_ids"].tolist() == ["ENSG1", "ENSG2", "ENSG3"]


def test_broken_h5_is_named(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 3
    (tmp_path / "text.h5").write_text("text")
    for name in ("other", "text"):
        with pytest.raises(DataError, match=rf"Cannot read .*{name}\.h5 as a 10x \.h5 file"):
            load(tmp_path / f"{name}.h5")


@pytest.mark.parametrize("form", ["gztar", "zip"])
def test_an_archive_of_a_10x_folder(tmp_path: Path, dense: np.ndarray, form: str) -> None:
    inside = tmp_path / "packed" / "filtered"
    inside.mkdir(parents=True)
    scipy.io.mmwrite(inside / "matrix.mtx", sp.coo_matrix(dense.T))
    (inside / "genes.tsv").write_text("".join(f"id{j}\tgene{j}\n" for j in range(7)))
    (inside / "barcodes.tsv").write_text("".join(f"cell{i}\n" for i in range(12)))
    path = shutil.make_archive(str(tmp_path / "counts"), form, tmp_path / "packed")
    adata = load(path)
    np.testing.assert_array_equal(adata.X.toarray(), dense)
    assert adata.obs_names[3] == "cell3"
    shutil.copytree(inside, tmp_path / "packed" / "other")
    message = r"two\.\S+ holds 2 sets of data, not one: .* \(other, raw"
    (tmp_path / "packed" / "filtered").rename(tmp_path / "packed" / "raw")
    path = shutil.make_archive(str(tmp_path / "two"), form, tmp_path / "packed")
    with pytest.raises(DataError, match=message):
        load(path)


PREFIXES = {
    "GEO": ("GSM1_S1_matrix.mtx.gz", "GSM1_S1_features.tsv.gz", "GSM1_S1_barcodes.tsv.gz"),
    "dots": ("s1.matrix.mtx", "s1.genes.tsv", "s1.barcodes.tsv"),
    "any name": ("counts.mtx", "genes.tsv", "barcodes.tsv"),
    "kallisto": ("cells_x_genes.mtx", "cells_x_genes.genes.txt", "cells_x_genes.barcodes.txt"),
    "SPLiT-seq": ("DGE.mtx", "all_genes.csv", "cell_metadata.csv"),
    "upper case": ("MATRIX.MTX.GZ", "FEATURES.TSV.GZ", "BARCODES.TSV.GZ"),
    "unpacked by a browser": ("matrix.mtx.gz.", "features.tsv.gz.", "barcodes.tsv.gz."),
}


def put_named(folder: Path, case: str, matrix: np.ndarray, header: bool) -> Path:
    """A matrix with names beside it; names that end in a dot are stored without compression."""
    names = PREFIXES[case]
    put_matrix(folder / "source.mtx", matrix)
    mark = "," if names[1].endswith("csv") else "\t"
    features = ["id,name"] * header + [f"ENSG{i},G{i}" for i in range(3)]
    texts = (
        (folder / "source.mtx").read_text(),
        "\n".join(features).replace(",", mark) + "\n",
        "\n".join(["barcode,n"] * header + ["AAA-1,5", "CCC-1,6"]).replace(",", mark) + "\n",
    )
    (folder / "source.mtx").unlink()
    for name, text in zip(names, texts, strict=True):
        is_packed = name.lower().endswith(".gz")
        data = gzip.compress(text.encode()) if is_packed else text.encode()
        (folder / name.rstrip(".")).write_bytes(data)
    return folder / names[0].rstrip(".")


@pytest.mark.parametrize("case", PREFIXES)
@pytest.mark.parametrize("header", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_names_beside_a_matrix_give_its_names_and_orientation(
    tmp_path: Path, case: str, header: bool, turned: bool
) -> None:
    path = put_named(tmp_path, case, CELLS if turned else CELLS.T, header)
    for source in (path, tmp_path):
        adata = load(source)
        np.testing.assert_array_equal(adata.X.toarray(), CELLS)
        assert list(adata.obs_names) == ["AAA-1", "CCC-1"]
        assert list(adata.var_names) == ["G0", "G1", "G2"]
        assert adata.var["gene_ids"].tolist() == ["ENSG0", "ENSG1", "ENSG2"]


def test_names_of_another_sample_are_not_taken(tmp_path: Path) -> None:
    put_named(tmp_path, "GEO", CELLS.T, header=False)
    other = tmp_path / "GSM2_S2_matrix.mtx"
    put_matrix(other, CELLS)
    assert list(load(other).obs_names) == ["0", "1"]
    assert list(load(tmp_path / "GSM1_S1_matrix.mtx.gz").obs_names) == ["AAA-1", "CCC-1"]
    with pytest.raises(DataError, match=r"holds 2 sets of data.*GSM1_S1_matrix.*GSM2_S2_matrix"):
        load(tmp_path)


def test_several_genomes_in_one_h5(tmp_path: Path) -> None:
    path = tmp_path / "two.h5"
    write_h5(path, 2)
    with h5py.File(path, "a") as file:
        file.copy("GRCh38", "mm10")
    adata = load(path)
    np.testing.assert_array_equal(adata.X.toarray(), np.hstack([CELLS, CELLS]))
    assert adata.var["genome"].tolist() == ["GRCh38"] * 3 + ["mm10"] * 3
    with h5py.File(path, "a") as file:
        file["mm10/barcodes"][0] = b"TTT-1"
    with pytest.raises(
        DataError, match=r"genomes 'GRCh38', 'mm10' with cells of their own.*scanpy"
    ):
        load(path)


def test_h5_without_genome(tmp_path: Path) -> None:
    path = tmp_path / "cellbender.h5"
    write_h5(path, 3)
    with h5py.File(path, "a") as file:
        del file["matrix/features/genome"]
        file["matrix/latent"] = np.ones(3)
    assert list(load(path).var_names) == ["NA", "TBCE", "TBCE-1"]
