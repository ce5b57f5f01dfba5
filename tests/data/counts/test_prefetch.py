from __future__ import annotations

from collections.abc import Iterator

import pytest

from vae4counts.data.counts.prefetch import prefetch


def test_the_next_item_is_made_ahead_and_errors_come_through() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1, 4):
            made.append(number)
            yield number
        raise ValueError("broken")

    coming = prefetch(items())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="broken"):
        list(coming)
    assert made == [1, 2, 3]
    early = prefetch(items())
    next(early)
    early.close()  # an epoch that is left half way leaves no thread behind
