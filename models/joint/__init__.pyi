from .chow_liu import ChowLiuTree as ChowLiuTree
from .distribution import JointDistribution as JointDistribution
from .independent import Independent as Independent
from .latent_tree import LatentTree as LatentTree
from .leaf_distribution import LeafDistribution as LeafDistribution
from .model import JointModel as JointModel
from .registry import JOINT_MODELS as JOINT_MODELS
from .side_by_side import SideBySide as SideBySide
