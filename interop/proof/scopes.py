"""A node of an exported graph -> the path of the module that it was traced from ("layer3.0.conv2").

The dynamo exporter writes it into the node's metadata, the legacy one into the node's name.
"""

from __future__ import annotations

import ast
from collections.abc import Collection

import onnx

_SCOPES = "pkg.torch.onnx.name_scopes"


def module_path(node: onnx.NodeProto, known: Collection[str]) -> str | None:
    """The innermost of the modules `known` that the node belongs to; None where nothing tells.

    "" is the outermost module itself.
    """
    stated = next((p.value for p in node.metadata_props if p.key == _SCOPES), None)
    if stated is not None:
        return _innermost(_listed(stated), known)
    if node.name.startswith("/"):
        return _innermost(_joined(node.name.split("/")[1:-1]), known)
    return None


def _listed(text: str) -> list[str]:
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return []
    return [str(x) for x in names] if isinstance(names, list) else []


def _joined(parts: list[str]) -> list[str]:
    """Each path on the way of "layer1/layer1.0/conv1": a container's child repeats its name."""
    paths: list[str] = []
    front, last = "", ""
    for part in parts:
        if not (last and part.startswith(f"{last}.")):
            front = f"{paths[-1]}." if paths else ""
        last = part
        paths.append(f"{front}{part}")
    return paths


def _innermost(paths: list[str], known: Collection[str]) -> str | None:
    return next((p for p in reversed(paths) if p in known), "" if paths else None)
