from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from vae4counts.data import DataError, UnknownName
from vae4counts.data.errors import reading


def test_unknown_name_is_a_key_error_that_reads_as_a_sentence() -> None:
    error = UnknownName("layer", "cuonts", ["raw", "counts"])
    assert isinstance(error, KeyError)
    assert str(error) == (
        "There is no layer 'cuonts'. Did you mean 'counts'? Known: 'counts', 'raw'."
    )
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_unknown_name_says_when_there_are_none() -> None:
    assert str(UnknownName("layer", "counts", [])) == "There is no layer 'counts'. Known: none."


def test_reading_names_the_file_and_keeps_to_one_line() -> None:
    with (
        pytest.raises(DataError, match=r"^Cannot read a\.csv as a table: first$"),
        reading(Path("a.csv"), "a table"),
    ):
        raise ValueError("first\nsecond")


def test_reading_lets_data_errors_through() -> None:
    with pytest.raises(DataError, match=r"^mine$"), reading(Path("a.csv"), "a table"):
        raise DataError("mine")
