"""Candidate models and a labelled task -> how reusable each is, and which may replace which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.assess.options import AssessOptions

if TYPE_CHECKING:
    from interop.assess.pipeline import assess

__all__ = ["AssessOptions", "assess"]


def __getattr__(name: str) -> Any:
    """Options are had without torch; what runs is imported when it is asked for."""
    if name != "assess":
        raise AttributeError(name)
    from interop.assess.pipeline import assess

    return assess
