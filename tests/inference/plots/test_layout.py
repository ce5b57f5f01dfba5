"""Layouts in the plane: alike in every process, whatever is kept between them."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

from vae4counts.inference.plots.layout import UMAP_AXES, keep_compiled, two_dimensions

pytestmark = pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")


def test_groups_are_apart_and_a_seed_repeats() -> None:
    group = np.arange(60) % 3
    latents = np.random.default_rng(0).normal(size=(60, 4)) + 20 * np.eye(4)[group]
    plane, axes = two_dimensions(latents, seed=1)
    again, _ = two_dimensions(latents, seed=1)
    assert np.array_equal(plane, again)
    assert axes == UMAP_AXES
    centres = np.stack([plane[group == each].mean(0) for each in range(3)])
    nearest = ((plane[:, None] - centres) ** 2).sum(-1).argmin(1)
    assert np.array_equal(nearest, group)


def test_observations_that_are_alike_are_laid_out() -> None:
    plane, _ = two_dimensions(np.repeat(np.eye(4), 15, axis=0))
    assert np.isfinite(plane).all()


def test_what_no_folder_can_keep_is_compiled_each_time() -> None:
    numba = pytest.importorskip("numba")
    package, module = ModuleType("package"), ModuleType("nowhere")
    exec("def double(x):\n    return 2 * x", vars(module))  # noqa: S102
    module.__dict__["double"] = numba.njit(vars(module)["double"])
    package.__dict__["nowhere"] = module
    keep_compiled(package)
    assert module.double(2) == 4
