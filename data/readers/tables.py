"""Tables of counts as text, separated by commas, tabs or semicolons."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from vae4counts.data.errors import DataError, reading
from vae4counts.data.readers.as_anndata import as_anndata
from vae4counts.data.readers.compression import bare_name, open_bytes
from vae4counts.data.readers.orientation import describe_features, names_features
from vae4counts.data.readers.utf8 import is_number, reading_text
from vae4counts.data.warning import warn

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t", ".gct": "\t"}
# The first line of GCT; the second holds the numbers of rows and columns.
_GCT = "#1.2"
_ID = re.compile(r"(?i:.*[\s_.-]ids?)|.*[a-z]I[Dd]|Unnamed: 0")
_NAMED_THING = re.compile(
    r"X|ids?|idx|index|key|barcodes?|names?|rows?|rownames|cells?|samples?|spots?|wells?|bins?|images?"
    r"|observations?|obs|patients?|subjects?|donors?|individuals?|participants?|documents?|docs?"
    r"|users?|customers?|cases?|numbers?|no|nr",
    re.IGNORECASE,
)
# What Seurat and scanpy write beside the counts of each cell.
_QUALITY = re.compile(
    r"n(Count|Feature)_\w+|n_(counts?|genes|umis?)(_by_counts)?|(log1p_)?total_counts(_\w+)?"
    r"|log1p_n_genes_by_counts|pct_counts_\w+|percent[._](mt|mito|rb|ribo)"
)
_YEARS = (1700, 2100)
# Ranks below kingdom and phylum, which alone could be anything.
_RANKS = {"class", "order", "family", "genus", "species"}
# The expected counts of RSEM, kallisto and salmon.
_ESTIMATES = {"expected_count", "est_counts", "numreads"}
# Numbers one after the other are ids, if there are that many.
_MIN_CONSECUTIVE = 10
_MAX_LINE = 2**24  # bytes


@dataclass(frozen=True)
class Layout:
    """How the text of a table is laid out.

    Attributes:
        separator: What is between the fields of a line.
        n_skipped: Lines of comment before the header.
        names: The fields of the header.
    """

    separator: str
    n_skipped: int
    names: list[str]


def read_table(path: str | Path) -> AnnData:
    """Read a table with a header, as it is in the file: its rows are those of the AnnData.

    Args:
        path: Text, compressed or not, separated by commas (``.csv``), tabs (``.tsv``, ``.txt``) or
            what its header has instead. Lines at its beginning that start with ``#`` are comments,
            except for a header. The first column names the rows if it holds text, its header is
            empty, or its whole numbers are ids; otherwise they are numbered from 0.

    Returns:
        Rows x columns of counts. Columns that are plainly no counts (coordinates and lengths of
        genes, taxonomy, further ids) are in ``obs``, and the header of the first is the name of
        its index.

    Raises:
        DataError: The file is broken or empty, has a missing value, or has text in a column of
            counts.

    Warns:
        UserWarning: A column of ids is not the first one.
    """
    path = Path(path)
    layout = read_layout(path)
    frame, names = _read_csv(path, layout), layout.names
    if frame.empty:
        raise DataError(f"{path} is empty: it has a header, but no rows.")
    _check_header(path, names)
    _check_is_wide(path, frame, names)
    is_indexed = not isinstance(frame.index, pd.RangeIndex)  # R writes no header above row names
    header = None if is_indexed else names[0]
    if not is_indexed and _names_rows(names[0], frame.iloc[:, 0]):
        frame, names = frame.set_index(_whole(frame.iloc[:, 0])).iloc[:, 1:], names[1:]
    if isinstance(frame.index, pd.MultiIndex) or not names:
        n_fields = len(names) + frame.index.nlevels
        raise DataError(
            f"{path} has {n_fields} fields in a row but {len(names)} names of features in its "
            "header: fields must be separated by commas in .csv files, and by tabs in .tsv files."
        )
    of_features = _columns_of_features(frame, names, names_features(header))
    of_rows = [j for j in _columns_of_rows(frame, names) if j not in of_features]
    if said := [repr(names[j]) for j in of_rows]:
        warn(
            f"{path}: {', '.join(said)} not counted: what describes the rows (ids, measurements, "
            "years, totals) goes to obs."
        )
    aside = sorted({*of_features, *of_rows})
    obs = pd.DataFrame({names[j]: frame.iloc[:, j] for j in aside}, index=frame.index)
    kept = [j for j in range(len(names)) if j not in set(aside)]
    if not kept:
        raise DataError(f"{path} has no column of counts, but {', '.join(names)}.")
    counts = _counts(path, frame.iloc[:, kept], [names[j] for j in kept])
    adata = as_anndata(counts, obs, pd.DataFrame(index=[names[j] for j in kept]))
    adata.obs_names.name = header
    return adata


def _check_header(path: Path, names: list[str]) -> None:
    """Raise a `DataError` if the first line is not a header, or that of a table of one sample."""
    numbers = [float(name) for name in names[1:] if is_number(name)]
    # columns may be numbered, but counts do not go up one after the other
    is_numbered = len(numbers) > 1 and bool((np.diff(numbers) > 0).all())
    if numbers and len(numbers) == len(names) - 1 and names[0] and not is_numbered:
        raise DataError(
            f"{path} has no header: its first line holds {', '.join(names[:3])}. Add a line with "
            "names above it; of files with one sample each, join the samples into one table."
        )
    lower = {name.lower() for name in names}
    if "tpm" in lower and (found := lower & _ESTIMATES):
        raise DataError(
            f"{path} holds what RSEM, kallisto or salmon says of one sample: join the columns "
            f"{found.pop()!r} of all samples into one table, and read it with --round."
        )


def _check_is_wide(path: Path, frame: pd.DataFrame, names: list[str]) -> None:
    """Raise a `DataError` if each line holds one count: an observation, a feature, a number."""
    if not len(names) == len(frame.columns) == 3:
        return
    (_, first), (_, second), (_, third) = frame.items()
    is_text = not pd.api.types.is_numeric_dtype(second)
    are_names = is_text or _ID.fullmatch(names[1]) or names_features(names[1])
    repeat = first.duplicated().any() and second.duplicated().any()
    is_once = not frame.iloc[:, :2].duplicated().any()
    if pd.api.types.is_numeric_dtype(third) and are_names and repeat and is_once:
        row, column, value = map(repr, names)
        raise DataError(
            f"{path} is a long table, of one count a line: make it one of observations x features "
            f"with pandas: frame.pivot_table(index={row}, columns={column}, values={value}, "
            "fill_value=0).to_csv(...)"
        )


def is_table(path: Path) -> bool:
    """Tell whether a file is a table: by its name, or as lines of separated fields."""
    if not path.is_file():
        return False
    if bare_name(path).endswith(tuple(_SEPARATORS)):
        return True
    try:
        with reading(path, "a table"), open_bytes(path) as file:
            first, second = (file.readline(_MAX_LINE).decode() for _ in range(2))
    except DataError:
        return False
    counts = [(first.count(mark), second.count(mark)) for mark in "\t,"]
    # R writes no header above the names of rows
    return any(0 < in_first <= in_second <= in_first + 1 for in_first, in_second in counts)


def read_layout(path: Path) -> Layout:
    """Look at the first lines of a table.

    Raises:
        DataError: The file is broken.
    """
    with reading_text(path, "a table"), open_bytes(path) as file:
        comments: list[str] = []
        line = file.readline().decode("utf-8-sig")
        while line.startswith("#") or (line and not line.strip()):
            comments.append(line)
            line = file.readline().decode()
        if comments and comments[0].strip() == _GCT:
            comments.append(line)
            line = file.readline().decode()
    separator = _separator(path, line)
    if comments and _is_header(comments[-1], line, separator):
        line = comments.pop()
    names = _read_csv(path, Layout(separator, len(comments), []), header=None, nrows=1, dtype=str)
    fields = names.iloc[0].fillna("").tolist()
    if line.startswith("#"):
        fields[0] = fields[0].lstrip("# ")
    return Layout(separator, len(comments), fields)


def _separator(path: Path, line: str) -> str:
    usual = _SEPARATORS.get(Path(bare_name(path)).suffix, "\t")
    others = [mark for mark in "\t,;" if mark in line]
    if usual in line or not others:
        return " " if not others and ".txt" in path.name.lower() and " " in line else usual
    return max(others, key=line.count)


def _is_header(comment: str, line: str, separator: str) -> bool:
    """Tell whether the last line that starts with ``#`` names the columns of the one below it."""
    fields = line.rstrip("\r\n").split(separator)
    return comment.count(separator) == len(fields) - 1 > 0 and any(map(is_number, fields))


def _names_rows(header: str, column: pd.Series) -> bool:
    """Tell whether the first column names the rows, so that its numbers are not counts."""
    if not header or not pd.api.types.is_numeric_dtype(column):
        return True
    if column.dtype.kind not in "iuf" or (column % 1 != 0).any():
        return False
    is_id = _ID.fullmatch(header) is not None
    is_thing = _NAMED_THING.fullmatch(header) is not None or names_features(header)
    is_numbering = len(column) >= _MIN_CONSECUTIVE and (np.diff(column.to_numpy()) == 1).all()
    return bool(is_id or is_numbering or (is_thing and column.is_unique))


def _whole(column: pd.Series) -> pd.Series:
    """Return ids without the ``.0`` of whole numbers."""
    return column.astype("int64") if column.dtype.kind == "f" and column.notna().all() else column


def _columns_of_features(
    frame: pd.DataFrame, names: list[str], rows_are_features: bool
) -> list[int]:
    """Return the positions of columns that describe features, where the rows are features."""
    are_numbers = [pd.api.types.is_numeric_dtype(dtype) for dtype in frame.dtypes]
    described = [j for j, name in enumerate(names) if describe_features(name)]
    # a number called "length" may be a count, but not beside coordinates, or in a row of a gene
    if all(are_numbers[j] for j in described) and not (rows_are_features or _spans(frame, names)):
        described = []
    if described:  # taxonomy in a column for each rank
        ranks = (j for j, name in enumerate(names) if name.lower() in _RANKS)
        described += [j for j in ranks if not are_numbers[j]]
    return described


def _columns_of_rows(frame: pd.DataFrame, names: list[str]) -> list[int]:
    """Return the positions of columns of numbers that describe the rows: by name, or measured.

    Measured are those of which most values are fractional, where most columns are whole.
    """
    numbers = {
        j: column
        for j, (_, column) in enumerate(frame.items())
        if pd.api.types.is_numeric_dtype(column)
    }
    fractional = {j: float((column % 1 != 0).mean()) for j, column in numbers.items()}
    are_counts = list(fractional.values()).count(0.0) > len(numbers) / 2
    return [
        j
        for j, column in numbers.items()
        if _describes_rows(names[j], column) or (are_counts and fractional[j] > 0.5)
    ]


def _describes_rows(name: str, column: pd.Series) -> bool:
    """Tell whether a column of numbers holds ids, totals of Seurat or scanpy, or years."""
    if name.lower() == "year":
        return bool(column.between(*_YEARS).all())
    return _ID.fullmatch(name) is not None or _QUALITY.fullmatch(name) is not None


def _spans(frame: pd.DataFrame, names: list[str]) -> bool:
    """Tell whether numbers called start and end are coordinates."""
    lower = [name.lower() for name in names]
    if not {"start", "end"} <= set(lower):
        return False
    start, end = (frame.iloc[:, lower.index(name)] for name in ("start", "end"))
    return bool((start < end).all())


def _counts(path: Path, frame: pd.DataFrame, names: list[str]) -> np.ndarray:
    # one type for all columns: numbers beside truth values would become objects
    counts = np.empty(frame.shape)
    for j, name in enumerate(names):
        column = frame.iloc[:, j]
        counts[:, j] = pd.to_numeric(column, errors="coerce")
        if np.isnan(counts[:, j]).any():
            row = int(np.isnan(counts[:, j]).argmax())
            value = column.iloc[row]
            fault = "nothing" if pd.isna(value) else f"text, {value!r},"
            raise DataError(
                f"{path} has {fault} at row {row} ({str(frame.index[row])!r}), column {name!r}: "
                "only the first column may hold text, all others counts, none of them missing."
            )
    return counts


def read_frame(path: Path, n_rows: int | None = None) -> pd.DataFrame:
    """Read a table, or its first rows.

    Raises:
        DataError: The file is broken.
    """
    return _read_csv(path, Layout(_separator(path, ""), 0, []), nrows=n_rows)


def _read_csv(path: Path, layout: Layout, **options: Any) -> pd.DataFrame:
    # an observation may be called "NA": only empty fields are missing
    with reading_text(path, "a table"), open_bytes(path) as file:
        return pd.read_csv(
            file,
            sep=layout.separator,
            skiprows=layout.n_skipped,
            keep_default_na=False,
            na_values=[""],
            **options,
        )
