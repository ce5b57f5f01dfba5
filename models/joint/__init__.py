"""Distributions over the whole vector of counts."""

from .distribution import JointDistribution

__all__ = ["JointDistribution"]
