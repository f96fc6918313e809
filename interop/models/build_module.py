"""An Identity -> the module whose names its tensors bear, without their values.

One module a library; whatever no library has comes through the person's own callable.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from torch import nn

from interop.errors import ModelError
from interop.facts import Architecture, Danger, Identity
from interop.identity import parts
from interop.identity.assumed import settled
from interop.identity.metadata import is_assumed
from interop.models.heads import OWN, put
from interop.models.libraries.timm import build as timm
from interop.models.libraries.torchaudio import build as torchaudio
from interop.models.libraries.torchvision import build as torchvision
from interop.models.libraries.transformers import build as transformers
from interop.models.programs import PROGRAMS, TORCHSCRIPT, is_program
from interop.models.user_code import call_by_path, module_by_path

__all__ = ["build", "build_with_notes", "call_by_path", "module_by_path"]

# Modules whose classes hold no weights: beside a state dict they are a loss or a setting.
_WEIGHTLESS = ("loss", "activation", "pooling", "dropout", "distance", "padding", "upsampling")


def build(
    identity: Identity,
    *,
    factory: str | None = None,
    head: str | None = None,
    arch: str | None = None,
) -> nn.Module:
    """The module in eval mode, its weights still without meaning: `load` gives them theirs.

    `factory` ("package.module:callable" or "path/file.py:callable") makes the whole module;
    `head`, given the same way, makes the head alone, which is put at the head's path. Both are the
    person's own code, called without arguments. `arch` names the architecture, "library/name";
    `load` proves whether the file is of it. Raises ModelError where none is given and the
    architecture is unknown, ambiguous, or has a head whose layers the file does not tell; where the
    file is no model as a whole (an adapter, codes); and where it holds a whole module, whose own
    forward no weights can tell.
    """
    return build_with_notes(identity, factory=factory, head=head, arch=arch)[0]


def build_with_notes(
    identity: Identity,
    *,
    factory: str | None = None,
    head: str | None = None,
    arch: str | None = None,
) -> tuple[nn.Module, tuple[str, ...]]:
    """The same as `build`, and what no file tells of the module that was taken for granted."""
    notes: tuple[str, ...] = ()
    if factory is not None:
        module = module_by_path(factory)
    else:
        _refuse_whole(identity)
        refuse_kind(identity)
        module, notes = _by_library(identity, arch, own_head=head is not None)
    if head is not None:
        path = _apart(identity, module) if factory is not None else ""
        path = path or (identity.head.path if identity.head else "")
        if not path:
            what = "--head says what the head is, but the file does not tell where it lies"
            fix = "give the whole module with --model package.module:factory"
            raise ModelError(what, where=identity.manifest.path, fix=fix)
        put(module, path, module_by_path(head))
    return module.eval().requires_grad_(False), notes


def _apart(identity: Identity, module: nn.Module) -> str:
    """The path below which all lies in which a file differs from the person's own module."""
    there = {t.name: t.shape for t in identity.tensors}
    wanted = {n: tuple(t.shape) for n, t in module.state_dict().items()}
    names = [n.split(".") for n in {**there, **wanted} if there.get(n) != wanted.get(n)]
    shared = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*names, strict=False))
    return ".".join(tokens[0] for tokens in shared)


def _by_library(
    identity: Identity, arch: str | None, *, own_head: bool
) -> tuple[nn.Module, tuple[str, ...]]:
    named = _named(identity, arch)
    # What a config.json says in full is not guessed from shapes, whatever those are like.
    if named is None and transformers.described(identity) is not None:
        return transformers.build(identity, identity.architecture or "")
    if named is None and (config := timm.described(identity)) is not None:
        return timm.build(identity, config["architecture"], own_head=own_head)
    library, _, name = (named or _architecture(identity)).partition("/")
    if library == "torchvision":
        return torchvision.build(identity, name, own_head=own_head)
    if library == "timm":
        return timm.build(identity, name, own_head=own_head)
    if library == "transformers":
        return transformers.build(identity, name)
    if library == "torchaudio":
        return torchaudio.build(identity, name)
    raise ModelError(f"{library}/{name} is not built here", where=identity.manifest.path, fix=OWN)


def _named(identity: Identity, arch: str | None) -> str | None:
    """The architecture that a person names, in full; None where the file is to tell."""
    if not arch:
        return None
    for architecture in identity.architectures:
        for name in (architecture.name, *architecture.also):
            if arch in (name, name.partition("/")[2]):
                return name
    if "/" in arch:
        return arch  # whether the file is of it, `load` will prove
    what = f"--arch says {arch!r}, which its tensors do not bear out"
    fix = "write library/name, such as torchvision/resnet18"
    raise ModelError(what, where=identity.manifest.path, fix=fix)


def _architecture(identity: Identity) -> str:
    if name := settled(identity).architecture:
        return name
    where = identity.manifest.path
    if not identity.architectures:
        raise ModelError(
            f"its architecture is unknown{': ' * bool(identity.ambiguity)}{identity.ambiguity}",
            where=where,
            fix="name it with --arch library/name (what does not fit is then told), or give the "
            "module with --model package.module:factory",
        )
    names = ", ".join(a.name for a in identity.architectures)
    raise ModelError(
        f"several architectures have these weights ({names}"
        f"{'; they differ in ' * bool(identity.ambiguity)}{identity.ambiguity})",
        where=where,
        fix="choose one with --arch, or give --model package.module:factory",
    )


def as_built(
    identity: Identity, arch: str | None, *, strict: bool = False, beside: Identity | None = None
) -> Identity:
    """Return the identity under the one architecture that a module is built of.

    It is the one that a person names, else the one that the weights and the file leave, else the
    one that may be assumed (`interop.identity.assumed`). Raises Unsettled if `strict`.
    """
    if not is_program(identity) and not whole(identity):
        identity = parts.by_architecture(identity)
    named = _named(identity, arch)
    container = identity.manifest.container
    if named is None and container in PROGRAMS:
        # What is built is the program: that its weights look like a library's says nothing of it.
        return replace(identity, architectures=(), ambiguity="", kind=PROGRAMS[container])
    if named is None and whole(identity):
        return identity  # what is built is the module that its classes name
    if named is None:
        described = transformers.described(identity) or timm.described(identity)
        stated = described and not is_assumed(identity.manifest.metadata, "architecture")
        return identity if stated else settled(identity, strict=strict, beside=beside)
    return replace(identity, architectures=(Architecture(named, f"--arch {arch}"),), ambiguity="")


def refuse_kind(identity: Identity) -> None:
    """ModelError where a state dict is no plain model's."""
    kind = identity.kind
    if not kind:
        return
    if kind.startswith("quantized"):
        why = f"holds a {kind}: int8 or packed weights, which no exporter route takes"
        fix = (
            "export the float model with --precision int8, or quantise its ONNX graph with ONNX "
            "Runtime's own tools"
        )
    elif "adapter" in kind:
        why = f"holds a {kind}, which is no model without its base"
        fix = "give the base model with --base"
    elif kind.startswith("several models"):
        places = re.findall(r"[^(), ]+", kind.partition("(")[2])
        name = Path(identity.manifest.path).name
        why, fix = f"holds {kind}", f"choose one: {' or '.join(f'{name}#{p}' for p in places)}"
    else:
        why, fix = f"holds {kind}, which is no model", OWN
    raise ModelError(why, where=identity.manifest.path, fix=fix)


def _refuse_whole(identity: Identity) -> None:
    """ModelError where the file holds a module's own code: its forward need not be the library's.

    A pickled module names the classes of its layers; a state dict names none.
    """
    if identity.manifest.container == TORCHSCRIPT:
        raise ModelError(
            "holds a TorchScript program, which need not be the library's own",
            where=identity.manifest.path,
            fix="export the program itself with --trust, or give its module with --model",
        )
    if what := whole(identity):
        raise ModelError(
            f"{what}, whose own forward is not run here and may differ from the library's",
            where=identity.manifest.path,
            fix="give the module with --model package.module:factory",
        )


def whole(identity: Identity) -> str:
    """What a file is that holds a whole module, in words; "" where it holds weights alone."""
    classes = [i for i in identity.manifest.imports if i.danger != Danger.SAFE]
    if any(_has_weights(i.module) for i in classes):
        return f"holds a whole pickled module ({classes[0]}, …)"
    return ""


def _has_weights(module: str) -> bool:
    """Whether classes of a Python module are networks, or layers that hold weights."""
    if module.startswith("torch.nn.modules."):
        return module.split(".")[3] not in _WEIGHTLESS
    return module.startswith(("torchvision.models.", "torchvision.ops.", "torch.fx.", "torch.jit."))
