from .autoregressive import Autoregressive as Autoregressive
from .circuit import Circuit as Circuit
from .distribution import JointDistribution as JointDistribution
from .independent import Independent as Independent
from .leaf_distribution import LeafDistribution as LeafDistribution
from .model import JointModel as JointModel
from .registry import JOINT_MODELS as JOINT_MODELS
