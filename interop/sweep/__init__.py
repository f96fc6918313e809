"""A store of many models -> one row a model, read from their headers, resumable."""

from interop.sweep.options import SweepOptions
from interop.sweep.run import sweep

__all__ = ["SweepOptions", "sweep"]
