"""A file that holds a program of its own (TorchScript, .pt2) -> the module that runs it.

The program is what was trained, whatever library its weights look like, so it is what is exported.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from interop.errors import ModelError
from interop.facts import Danger, Identity
from interop.models.signature import BATCH, Signature
from interop.models.signature.forward import argument_like

TORCHSCRIPT, EXPORTED = "torchscript", "exported-program"
PROGRAMS: Mapping[str, str] = {
    TORCHSCRIPT: "TorchScript program", EXPORTED: "exported program (.pt2)",
}  # fmt: skip
EXAMPLE = "interop example"  # where a program's module keeps the inputs that it was traced with


def is_program(identity: Identity) -> bool:
    """Whether the file brings the code that runs its weights."""
    return identity.manifest.container in PROGRAMS


def would_run(identity: Identity) -> tuple[str, ...]:
    """What opening the program runs; () if it only rebuilds tensors and ATen operators."""
    if identity.manifest.container == TORCHSCRIPT:
        return (f"its {PROGRAMS[TORCHSCRIPT]}",)
    names = (str(i) for i in identity.manifest.imports if i.danger != Danger.SAFE)
    return tuple(dict.fromkeys(names))


def refuse_unsafe(identity: Identity) -> None:
    """ModelError for a file that names what can run commands, whatever a person trusts."""
    unsafe = [str(i) for i in identity.manifest.imports if i.danger == Danger.UNSAFE]
    if unsafe:
        raise ModelError(
            f"would run {', '.join(unsafe[:4])} when it is opened, which no model needs",
            where=identity.manifest.path,
            fix="do not load this file",
            rule="pickle-unsafe-global",
        )


def opened(identity: Identity, *, trust: bool) -> nn.Module:
    """Return the program as a module in eval mode, with its own weights.

    Raises ModelError if opening it runs code and nobody trusts it, or if torch cannot open it.
    """
    manifest, what = identity.manifest, PROGRAMS[identity.manifest.container]
    refuse_unsafe(identity)
    runs = would_run(identity)
    if runs and not trust:
        code = "" if manifest.container == TORCHSCRIPT else f" (it would run {', '.join(runs[:4])})"
        raise ModelError(
            f"its {what} has to run{code}",
            where=manifest.path,
            fix="pass --trust if you trust its author, or give the module with --model",
        )
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = _open(manifest.container, manifest.file)
    except Exception as error:  # whatever torch's own readers raise
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        why = f"torch cannot open the {what}: {line}"
        fix = "save it again with the torch that runs here"
        raise ModelError(why, where=manifest.path, fix=fix) from None
    if manifest.container == TORCHSCRIPT and not identity.tensors:
        raise ModelError(
            "its weights are constants of the program (torch.jit.freeze), so that none can be "
            "compared with the graph's",
            where=manifest.path,
            fix="save the program before it is frozen",
        )
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


def _open(container: str, file: str) -> nn.Module:
    if container == TORCHSCRIPT:
        script: Any = torch.jit.load(file, map_location="cpu")  # type: ignore[no-untyped-call]
        return script.eval()  # type: ignore[no-any-return]
    program = torch.export.load(file)
    module: Any = program.module()
    # A program has one mode, and raises if it is asked for another.
    module.train = module.eval = lambda *_: module
    module.meta[EXAMPLE] = program.example_inputs
    return module  # type: ignore[no-any-return]


def as_in_file(identity: Identity) -> Identity:
    """Return the identity with the names that the program itself has for its tensors."""
    names = identity.file_names
    tensors = tuple(t.named(names[t.name]) for t in identity.tensors)
    return replace(identity, prefix="", tensors=tensors)


def signature(identity: Identity, module: nn.Module) -> Signature | None:
    """Return what an exported program says that it takes, with the sizes of its own example.

    An axis that it leaves open has a symbol in the file; the first one is the batch. None for any
    other module. Raises ModelError for a program that takes more than tensors.
    """
    graph = identity.manifest.graph
    given = getattr(module, "meta", {}).get(EXAMPLE)
    if graph is None or given is None:
        return None
    args, kwargs = given
    tensors = [*args, *kwargs.values()]
    if len(tensors) != len(graph.inputs) or not all(isinstance(t, torch.Tensor) for t in tensors):
        raise ModelError(
            "the program takes more than tensors (a dict, a list), which is not called here",
            where=identity.manifest.path,
            fix="export its module with --model, or a program that takes tensors",
        )
    sizes: dict[str, int] = {}
    arguments = []
    for port, tensor in zip(graph.inputs, tensors, strict=True):
        axes = [
            BATCH if not place and not isinstance(axis, int) else axis
            for place, axis in enumerate(port.shape)
        ]
        named = zip(axes, tensor.shape, strict=True)
        sizes |= {a: n for a, n in named if isinstance(a, str) and a != BATCH}
        arguments.append(argument_like(port.name, tensor, tuple(axes)))
    others = {axis: size + max(size // 2, 1) for axis, size in sizes.items()}
    return Signature(tuple(arguments), sizes, others, by_name=bool(kwargs))
