"""Pretrained weights and a labelled data set -> a fine-tuned checkpoint, and how it was trained."""

from interop.finetune.options import FinetuneOptions
from interop.finetune.pipeline import finetune

__all__ = ["FinetuneOptions", "finetune"]
