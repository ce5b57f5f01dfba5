"""What numba keeps of a layout between processes; test_annotation has the layout itself."""

from __future__ import annotations

from types import ModuleType

import pytest

from vae4counts.inference.plots.layout import keep_compiled


@pytest.fixture
def package() -> ModuleType:
    """A package with one module, of one compiled function, that lies in no file."""
    numba = pytest.importorskip("numba")
    package, module = ModuleType("package"), ModuleType("nowhere")
    exec("def double(x):\n    return 2 * x", vars(module))  # noqa: S102
    module.__dict__["double"] = numba.njit(vars(module)["double"])
    package.__dict__["nowhere"] = module
    return package


def test_what_no_folder_can_keep_is_compiled_each_time(package: ModuleType) -> None:
    keep_compiled(package)
    assert package.nowhere.double(2) == 4


def test_modules_keep_what_is_compiled() -> None:
    umap = pytest.importorskip("umap")
    keep_compiled(umap)
    assert umap.umap_.smooth_knn_dist.stats.cache_path
