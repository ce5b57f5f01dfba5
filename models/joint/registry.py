"""The models that are one joint distribution over the counts, by name.

A line here makes one known to the command line, the generic tests and the benchmark of the zoo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vae4counts.models.registry import Registry

if TYPE_CHECKING:
    from vae4counts.models.joint.model import JointModel

JOINT_MODELS: Registry[type[JointModel]] = Registry(
    "vae4counts.models.joint",
    {
        "independent": "independent.Independent",
        "chow-liu": "chow_liu.ChowLiuTree",
        "latent-tree": "latent_tree.LatentTree",
        "circuit": "circuit.Circuit",
        "autoregressive": "autoregressive.Autoregressive",
        "any-order": "any_order.AnyOrder",
        "discrete-flow": "discrete_flow.DiscreteFlow",
    },
)
