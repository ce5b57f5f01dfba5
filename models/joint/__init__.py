"""Distributions over whole vectors of counts, and the models that are made of them."""

from .distribution import JointDistribution

__all__ = ["JointDistribution"]
