"""Each test that docs/faults.md names is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROWS = [
    [cell.strip() for cell in line.strip("|\n").split("|")]
    for line in (ROOT / "docs" / "faults.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| Fault")
]
NAMED = [name for row in ROWS for name in re.findall(r"`(tests/\S+::\w+)`", row[-1])]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_fault_names_what_happens_and_a_test() -> None:
    for row in ROWS:
        assert len(row) == 3, row
        is_heading = row[0].startswith("**")
        assert is_heading or (row[1] and "::" in row[2]), row


def test_every_named_test_is_there() -> None:
    assert len(NAMED) >= len([row for row in ROWS if row[1]])
    for name in NAMED:
        path, function = name.split("::")
        assert function in functions(ROOT / path), name
