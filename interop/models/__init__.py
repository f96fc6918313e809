"""An Identity and the weights it names -> a torch.nn.Module, proved to hold exactly those weights.

No file is unpickled, unless a person says that it may be: the weights are mapped from where the
reader found them.
"""

from interop.models.build_module import build, call_by_path
from interop.models.load_module import built
from interop.models.load_weights import load, ties
from interop.models.pickles import would_run
from interop.models.weights import state_dict

__all__ = ["build", "built", "call_by_path", "load", "state_dict", "ties", "would_run"]
