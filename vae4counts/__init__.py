"""A zoo of probabilistic models for sparse counts, written as Pyro model/guide pairs.

The public names and sub-packages are imported when they are first used.
"""

import logging
from pathlib import Path

import lazy_loader

# In a checkout the sub-packages lie beside this folder, not in it.
_here = Path(__file__).resolve().parent
if not (_here / "data").exists():
    __path__.append(str(_here.parent))

# messages are for those who ask, see `logging`
logging.getLogger(__name__).addHandler(logging.NullHandler())

_lazy_name, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> object:
    """Look up the version, a public name or a sub-package."""
    if name == "__version__":
        from importlib.metadata import version  # takes longer than everything else here

        return version("vae4counts")
    return _lazy_name(name)
