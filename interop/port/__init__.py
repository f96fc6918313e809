"""A checkpoint -> the same weights under another library's names, or another file's; proved.

Every tensor of the target is filled and every one of the source used, or nothing is written.
"""

from interop.port.options import PortOptions
from interop.port.pipeline import port

__all__ = ["PortOptions", "port"]
