from . import data as data
from . import guides as guides
from . import inference as inference
from . import models as models
from .data import load as load
from .guides import guide_for as guide_for
from .inference import Run as Run
from .inference import compare as compare
from .inference import fit as fit
from .inference import write_report as write_report
from .models import GMVAE as GMVAE
from .models import VAE as VAE
from .models import CountMixture as CountMixture

__version__: str
