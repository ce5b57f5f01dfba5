"""The guides that are known by name; the first that fits a model is its default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae4counts.models.registry import Registry

if TYPE_CHECKING:
    from vae4counts.guides import Guide

GUIDES: Registry[type[Guide]] = Registry(
    "vae4counts.guides",
    {
        "marginal": "marginal.MarginalGuide",
        "joint": "joint.JointGuide",
        "exact": "exact.ExactGuide",
        "full-covariance": "full_covariance.FullCovarianceGuide",
        "flow": "flow.FlowGuide",
        "product": "product.ProductGuide",
    },
)
