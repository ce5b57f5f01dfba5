"""The memory that a process has, and the most that it ever had."""

from __future__ import annotations

from pathlib import Path


def peak_megabytes(process: int | str = "self") -> int:
    """Peak resident memory of this process, or of another, so far, in MB; on Linux alone.

    Not what ``getrusage`` says: that starts from the memory of the process that started this one.
    """
    return _status(process, "VmHWM")


def megabytes() -> int:
    """Resident memory of this process now, in MB; on Linux alone."""
    return _status("self", "VmRSS")


def _status(process: int | str, name: str) -> int:
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split(f"{name}:")[1].split()[0]) // 1024
