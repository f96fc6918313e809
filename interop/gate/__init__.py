"""A policy and the Reports of check, export and bench -> one Report: pass, fail or inconclusive."""

from interop.gate.judge import gate, lacking, refuse

__all__ = ["gate", "lacking", "refuse"]
