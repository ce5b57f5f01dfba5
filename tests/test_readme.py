"""The README's Python runs as it stands."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from vae4counts import inference

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.filterwarnings("ignore:X. 13 of 765 features:UserWarning")
def test_the_first_screen_and_the_swaps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    quick: Callable[..., Any] = partial(inference.fit, epochs=3, progress=False)
    monkeypatch.setattr(inference, "fit", quick)
    names: dict[str, Any] = {}
    exec(BLOCKS[0], names)  # noqa: S102
    assert (tmp_path / "runs" / "pbmc" / "model.safetensors").exists()
    assert {"X_vae", "responsibilities"} <= set(names["adata"].obsm)
    exec(BLOCKS[1], names | {"n": 7})  # noqa: S102


def test_its_figure_is_there() -> None:
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (Path(__file__).parents[1] / path).exists()
