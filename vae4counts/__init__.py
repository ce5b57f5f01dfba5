"""A zoo of probabilistic models for sparse counts, written as Pyro model/guide pairs."""

from importlib.metadata import version

__version__ = version("vae4counts")
