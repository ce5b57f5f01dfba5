"""A zoo of probabilistic models for sparse counts, written as Pyro model/guide pairs.

The public names and sub-packages are imported when they are first used.
"""

import lazy_loader

_lazy_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """Look up the version, a public name or a sub-package."""
    if name == "__version__":
        from importlib.metadata import version  # takes longer than everything else here

        return version("vae4counts")
    return _lazy_name(name)
