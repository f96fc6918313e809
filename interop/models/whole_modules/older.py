"""A rebuilt module that the installed library cannot run -> its class built anew by its name.

A pickle keeps the attributes of the version that wrote it. A later version's forward may need one
that was not there yet; unpickling gives the same module, and fails the same way.
"""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import replace

import torch
from torch import nn

from interop.errors import ModelError
from interop.facts import Identity
from interop.models.build_module import build_with_notes
from interop.models.infer_signature import signature
from interop.models.signature.types import Signature, drawn


def lacks(module: nn.Module, identity: Identity) -> str:
    """What the module lacks to be run by the installed library; "" if it runs.

    Only a missing attribute counts: whatever else fails is told by whoever runs the module.
    """
    try:
        # Whichever of several architectures it is, they are of one library and take the same.
        first = replace(identity, architectures=identity.architectures[:1])
        takes = signature(first, module)
        given = {n: torch.from_numpy(a) for n, a in drawn(takes, 1).items()}
    except Exception:  # what it takes cannot be told here
        return ""
    try:
        with torch.inference_mode(), redirect_stdout(sys.stderr):
            _run(module, given, takes)
    except AttributeError as error:
        return (str(error).strip() or "an attribute").splitlines()[0]
    except Exception:
        return ""
    return ""


def _run(module: nn.Module, given: dict[str, torch.Tensor], takes: Signature) -> None:
    dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    fit = {n: t.to(dtype) if t.is_floating_point() else t for n, t in given.items()}
    if takes.by_name:
        module(**fit)
    elif takes.kind:  # a detector, which takes a list of pictures
        module([tensor[0] if tensor.ndim == 4 else tensor for tensor in fit.values()])
    else:
        module(*fit.values())


def by_name(
    identity: Identity, kind: type[nn.Module], lacking: str, arch: str | None
) -> tuple[nn.Module, tuple[str, ...]] | None:
    """The class as the installed library builds it by its architecture's name, and what is noted.

    None if no name gives that class. Raises ModelError if several architectures have its weights.
    """
    if identity.architecture is None and arch is None:
        if not identity.architectures:
            return None
        names = ", ".join(a.name for a in identity.architectures)
        what = f"was saved by an older library ({lacking}), and is one of {names}"
        raise ModelError(what, where=identity.manifest.path, fix="choose one with --arch")
    states = replace(identity.manifest, imports=())  # its weights alone
    try:
        module, notes = build_with_notes(replace(identity, manifest=states), arch=arch)
    except ModelError:
        return None
    if type(module) is not kind:
        return None
    note = (
        f"the file was saved by an older library: today's forward needs what its pickle lacks "
        f"({lacking}). {kind.__name__} was built by its name, and given the file's weights"
    )
    return module, (note, *notes)
