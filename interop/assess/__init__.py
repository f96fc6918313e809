"""Candidate models and a labelled task -> how reusable each is, and which may replace which."""

from interop.assess.options import AssessOptions
from interop.assess.pipeline import assess

__all__ = ["AssessOptions", "assess"]
