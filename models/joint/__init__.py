"""Distributions over the whole vector of counts."""

from .distribution import JointDistribution
from .side_by_side import SideBySide

__all__ = ["JointDistribution", "SideBySide"]
