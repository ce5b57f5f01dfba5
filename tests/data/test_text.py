"""People's own text, made fit to be shown."""

from __future__ import annotations

import pytest

from vae4counts.data.text import LONGEST_NAME, one_line, reason_of, short_name


def test_any_name_becomes_one_line_that_prints(nasty: tuple[str, ...]) -> None:
    for name in nasty:
        assert one_line(name).isprintable()
        assert short_name(name).isprintable()
        assert 0 < len(short_name(name)) <= LONGEST_NAME


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("CD8+ T cell", "CD8+ T cell"),
        ("a\n b\r\nc", "a  b c"),
        ("no\xa0break\tany", "no break any"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("\udc80", r"\udc80"),
        ("细胞 Ω", "细胞 Ω"),
        (7, "7"),
    ],
)
def test_what_prints_stays(text: object, wanted: str) -> None:
    assert one_line(text) == wanted


def test_long_names_keep_both_ends() -> None:
    assert short_name("ENSG00000000001_batch_3", 12) == "ENSG000…ch_3"
    assert short_name("twelve chars", 12) == "twelve chars"
    assert short_name("") == "(empty)"


def test_an_error_says_what_it_says_first() -> None:
    assert reason_of(ValueError("\nno \x07 file\nin detail")) == r"no \x07 file"
    assert reason_of(ValueError()) == "ValueError"
