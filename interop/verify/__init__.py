"""An artefact, whoever wrote it, and its source -> the proofs that it computes the same.

A bundle brings its own source; for any other artefact a person names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.verify.options import VerifyOptions

if TYPE_CHECKING:
    from interop.verify.pipeline import verify

__all__ = ["VerifyOptions", "verify"]


def __getattr__(name: str) -> Any:
    """Options are had without torch; what runs is imported when it is asked for."""
    if name != "verify":
        raise AttributeError(name)
    from interop.verify.pipeline import verify

    return verify
