"""Pretrained weights and a labelled data set -> a fine-tuned checkpoint, and how it was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.finetune.options import FinetuneOptions

if TYPE_CHECKING:
    from interop.finetune.pipeline import finetune

__all__ = ["FinetuneOptions", "finetune"]


def __getattr__(name: str) -> Any:
    """Options are had without torch; what runs is imported when it is asked for."""
    if name != "finetune":
        raise AttributeError(name)
    from interop.finetune.pipeline import finetune

    return finetune
