"""Candidate models and a labelled task -> how reusable each is, and which may replace which."""

from interop.assess.finetune_cv import Tuning
from interop.assess.pipeline import Options, assess

__all__ = ["Options", "Tuning", "assess"]
