"""A policy and the Reports of check, export and bench -> one Report: pass, fail or inconclusive."""

from interop.gate.judge import gate, refuse
from interop.gate.options import GateOptions

__all__ = ["GateOptions", "gate", "refuse"]
