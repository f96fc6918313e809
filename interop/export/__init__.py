"""A fine-tuned checkpoint -> a bundle (ONNX graph, safetensors, config, receipt, card), proved.

The bundle appears only when all five proofs hold; otherwise the report says which does not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.export.options import ExportOptions

if TYPE_CHECKING:
    from interop.export.pipeline import export

__all__ = ["ExportOptions", "export"]


def __getattr__(name: str) -> Any:
    """Options are had without torch; what runs is imported when it is asked for."""
    if name != "export":
        raise AttributeError(name)
    from interop.export.pipeline import export

    return export
