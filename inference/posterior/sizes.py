"""Limits of results that are held in memory as a whole."""

from __future__ import annotations

# Larger results are refused: 4 GiB.
MAX_BYTES = 4 * 2**30


class TooLargeError(ValueError):
    """A result that would not fit in memory."""


def check_size(n_bytes: float, what: str, instead: str) -> None:
    """Refuse a result that would take too much memory, before anything is computed.

    Args:
        n_bytes: How much it would take.
        what: What it is: ``"A table of 9 x 9"``.
        instead: What to ask for instead.

    Raises:
        TooLargeError: It would take over 4 GiB.
    """
    if n_bytes > MAX_BYTES:
        raise TooLargeError(
            f"{what} would take {n_bytes / 2**30:,.1f} GiB, more than the "
            f"{MAX_BYTES / 2**30:.0f} GiB that are kept at once: {instead}"
        )
