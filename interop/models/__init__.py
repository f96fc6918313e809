"""An Identity and the weights it names -> a torch.nn.Module, proved to hold exactly those weights.

No file is unpickled: the weights are mapped from where the reader found them.
"""

from interop.models.building import build, call_by_path
from interop.models.loading import load
from interop.models.weights import state_dict

__all__ = ["build", "call_by_path", "load", "state_dict"]
