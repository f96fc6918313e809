"""A fine-tuned checkpoint -> a bundle (ONNX graph, safetensors, config, receipt, card), proved.

The bundle appears only when all five proofs hold; otherwise the report says which does not.
"""

from interop.export.options import ExportOptions
from interop.export.pipeline import export

__all__ = ["ExportOptions", "export"]
