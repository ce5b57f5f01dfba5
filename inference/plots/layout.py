"""Latents laid out in the plane."""

from __future__ import annotations

import contextlib
import warnings
from types import ModuleType

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsRegressor, NearestNeighbors

from vae4counts.data.warning import warn
from vae4counts.inference.parallel.threads import kept_threads

# More observations than this would take UMAP minutes: the others are laid among their neighbours.
MOST_LAID_OUT = 10_000
NEIGHBOURS = 5
# Of which UMAP makes its graph; its own default.
GRAPH_NEIGHBOURS = 15
# Fewer latents or observations than this need no layout.
FEWEST_LATENTS, FEWEST_OBSERVATIONS = 3, 20
# The least distance of points, with which groups fill the plane; scanpy's default too.
MIN_DISTANCE = 0.5
UMAP_AXES = ("UMAP 1", "UMAP 2")


def two_dimensions(latents: np.ndarray, seed: int = 0) -> tuple[np.ndarray, tuple[str, str]]:
    """Lay latents out in the plane by UMAP (McInnes et al. 2018).

    Where umap-learn is not installed, which is said, the plane is that of the two principal
    components. Of more than 10,000 observations so many are laid out, chosen at random; the others
    lie at the mean of their five nearest neighbours among these, weighted by the inverse distance.

    Args:
        latents: Shape ``(n, L)``.
        seed: Seed of the layout.

    Returns:
        Coordinates of shape ``(n, 2)`` and names of the two axes. Latents of one or two
        dimensions, or of few observations, are taken as `best_directions` are.
    """
    if latents.shape[1] < FEWEST_LATENTS or len(latents) < FEWEST_OBSERVATIONS:
        return best_directions(latents)
    try:
        import umap  # slow to import
    except ImportError:
        warn("Latents are laid out by principal components; for UMAP, pip install umap-learn.")
        return PCA(2, svd_solver="full").fit_transform(latents), ("PC 1", "PC 2")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(latents))[:MOST_LAID_OUT])
    keep_compiled(umap)
    # found exactly in a second, where UMAP's own approximate search takes many to be compiled
    search = NearestNeighbors(n_neighbors=GRAPH_NEIGHBOURS).fit(latents[chosen])
    distances, neighbours = search.kneighbors(latents[chosen])
    with kept_threads(), warnings.catch_warnings():
        # without its own search UMAP cannot place further points, which nobody asks for
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)
        layout = umap.UMAP(
            n_neighbors=GRAPH_NEIGHBOURS,
            min_dist=MIN_DISTANCE,
            init="pca",
            random_state=seed,
            n_jobs=1,
            precomputed_knn=(neighbours, distances),
        )
        plane = layout.fit_transform(latents[chosen])
    if len(chosen) < len(latents):
        among = KNeighborsRegressor(NEIGHBOURS, weights="distance").fit(latents[chosen], plane)
        plane = among.predict(latents)
    return plane, UMAP_AXES


def keep_compiled(package: ModuleType) -> None:
    """Have numba keep what it compiles of a package's modules, for later processes.

    UMAP's own take ten seconds each time. Where no folder can be written to, nothing is kept.
    """
    from numba.core.registry import CPUDispatcher  # slow to import

    modules = [each for each in vars(package).values() if isinstance(each, ModuleType)]
    for function in (each for module in modules for each in vars(module).values()):
        if isinstance(function, CPUDispatcher):
            with contextlib.suppress(RuntimeError):
                function.enable_caching()


def best_directions(latents: np.ndarray) -> tuple[np.ndarray, tuple[str, str]]:
    """Return the two latents along which the observations vary most.

    Args:
        latents: Posterior means, shape ``(n, L)``.

    Returns:
        Coordinates of shape ``(n, 2)`` and the latents' names; zeros where there is only one.
    """
    best = np.argsort(-latents.var(axis=0), kind="stable")[:2]
    names = [f"z{latent}" for latent in best] + [""] * (2 - len(best))
    plane = np.pad(latents[:, best], ((0, 0), (0, 2 - len(best))))
    return plane, (names[0], names[1])
