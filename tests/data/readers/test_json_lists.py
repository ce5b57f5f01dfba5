from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vae4counts.data.readers import json_lists
from vae4counts.data.readers.json_lists import read_lists

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def read(text: str, chunk: int = 2**20) -> dict[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lists, "_CHUNK_SIZE", chunk)
        return read_lists(io.BytesIO(text.encode()), lambda entry: entry)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text(), VALUES, max_size=4),
    st.integers(1, 9),
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
)
def test_reads_what_json_reads(
    value: dict[str, Any], chunk: int, indent: int | str | None, ascii_only: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert read(text, chunk) == json.loads(text) == value


@pytest.mark.parametrize("chunk", [1, 7, 2**20])
def test_entries_are_reduced_as_they_are_read(chunk: int) -> None:
    text = ' {"a": [1, {"b": 2}], "c": {"d": [3]} , "e" : [], "f":12, "é中": "ß" }\r\n'
    seen: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lists, "_CHUNK_SIZE", chunk)
        found = read_lists(io.BytesIO(text.encode("utf-8-sig")), lambda entry: seen.append(entry))
    assert seen == [1, {"b": 2}]
    assert found == {"a": [None, None], "c": {"d": [3]}, "e": [], "f": 12, "é中": "ß"}


@pytest.mark.parametrize("chunk", [1, 2**20])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected '{' at character 0, not ''"),
        ("[1]", r"expected '{' at character 0, not '\['"),
        ('{"a": [1, 2', "expected ',' at character 11, not ''"),
        ('{"a": [1 2]}', "expected ',' at character 9, not '2'"),
        ('{"a": [1,]}', "expected a value at character 9, not ']'"),
        ('{"a" 1}', "expected ':' at character 5, not '1'"),
        ('{"a": [{"b": }]}', "expected a value at character 7, not '{'"),
        ('{"a": 1} x', "expected the end at character 9, not 'x'"),
    ],
)
def test_an_error_says_where(text: str, message: str, chunk: int) -> None:
    with pytest.raises(ValueError, match=message):
        read(text, chunk)
