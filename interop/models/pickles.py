"""A file that holds a whole pickled module -> that module, once a person says that it may run.

Unpickling runs the code that the file names. Nothing else of the package does it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from interop.errors import ModelError
from interop.facts import Danger, Identity
from interop.models import programs
from interop.models.build_module import refuse_kind, whole
from interop.models.heads import OWN
from interop.models.user_code import importable

_STATE_DICT = "save the module's state_dict() instead, or " + OWN


def would_run(identity: Identity) -> tuple[str, ...]:
    """What runs if the file is opened as the code that it holds; () if it holds none.

    Of a pickle, the names that unpickling imports and could call, without those that only rebuild
    tensors and plain containers.
    """
    if programs.is_program(identity):
        return programs.would_run(identity)
    if not whole(identity):
        return ()
    names = (str(i) for i in identity.manifest.imports if i.danger != Danger.SAFE)
    return tuple(dict.fromkeys(names))


def unpickled(identity: Identity) -> nn.Module:
    """The module at the identity's place of the file, in eval mode.

    Raises ModelError for a file that names what can run commands, whatever a person says, and if
    unpickling fails or gives no module.
    """
    manifest = identity.manifest
    where = manifest.path
    programs.refuse_unsafe(identity)
    refuse_kind(identity)
    with importable(), contextlib.redirect_stdout(sys.stderr):
        try:
            content: Any = torch.load(manifest.file, map_location="cpu", weights_only=False)
        except Exception as error:  # the file's own code may raise anything
            line = (str(error).strip() or "no reason given").splitlines()[0]
            what = f"cannot be unpickled: {type(error).__name__}: {line}"
            raise ModelError(
                what, where=where, fix="run where its classes can be imported, or " + _STATE_DICT
            ) from error
    module = _module_at(content, identity.place)
    if module is None:
        raise ModelError("holds no module as a whole", where=where, fix=_STATE_DICT)
    return module.eval().requires_grad_(False)


def _module_at(item: Any, place: str) -> nn.Module | None:
    """The module at a place, or the one that there is within what lies there."""
    for key in place.split(".") if place else ():
        if isinstance(item, nn.Module):
            break
        item = item.get(key) if isinstance(item, Mapping) else getattr(item, key, None)
    if isinstance(item, nn.Module):
        return item
    inside = [v for v in item.values() if isinstance(v, nn.Module)] if isinstance(
        item, Mapping) else []  # fmt: skip
    networks = [m for m in inside if next(m.parameters(), None) is not None]
    return networks[0] if len(networks) == 1 else None
