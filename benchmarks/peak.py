"""The current and the peak memory of a process."""

from __future__ import annotations

from pathlib import Path


def peak_megabytes(process: int | str = "self") -> int:
    """Return the peak resident memory of this process, or of another, so far, in MB; Linux only.

    ``getrusage`` would not do: its value starts from the memory of the parent process.
    """
    return _status(process, "VmHWM")


def megabytes() -> int:
    """Return the resident memory of this process now, in MB; Linux only."""
    return _status("self", "VmRSS")


def _status(process: int | str, name: str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) // 1024
