"""The README's Python runs as it stands."""

import re
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from vae4counts import inference
from vae4counts.guides import guide_for
from vae4counts.models import GMVAE
from vae4counts.models.priors import GaussianMixture

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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit of three epochs is no good one, which is said
        exec(BLOCKS[2], names | {"other": names["run"]})  # noqa: S102
        model = GMVAE(names["adata"].n_vars, GaussianMixture(2, 2))
        joint = {"model": model, "guide": guide_for(model), "joint": guide_for(model, "joint")}
        exec(BLOCKS[3], names | joint)  # noqa: S102
    assert (tmp_path / "report.html").exists()


def test_its_figure_is_there() -> None:
    for path in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (Path(__file__).parents[1] / path).exists()
