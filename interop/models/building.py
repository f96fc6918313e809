"""An Identity -> the module whose names its tensors bear, without their values.

torchvision's constructors by name; whatever else comes through the person's own callable.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import torch
from torch import nn

from interop.errors import ExtraMissing, ModelError
from interop.facts import Head, Identity

# Constructors that fill the weights themselves, or whose side branch a checkpoint may lack.
_OPTIONS: dict[str, Callable[[set[str]], dict[str, Any]]] = {
    "googlenet": lambda names: {"aux_logits": _any(names, "aux"), "init_weights": False},
    "inception_v3": lambda names: {"aux_logits": _any(names, "AuxLogits"), "init_weights": False},
}
# Of torch.nn.init: drawing these numbers costs more than all else that a constructor does.
_RANDOM = (
    "uniform_",
    "normal_",
    "trunc_normal_",
    "kaiming_uniform_",
    "kaiming_normal_",
    "xavier_uniform_",
    "xavier_normal_",
    "orthogonal_",
)


def build(identity: Identity, *, factory: str | None = None, head: str | None = None) -> nn.Module:
    """The module in eval mode, its weights still without meaning: `load` gives them theirs.

    `factory` ("package.module:callable" or "path/file.py:callable") makes the whole module;
    `head`, given the same way, makes the head alone, which is put at the head's path. Both are the
    person's own code, called without arguments. Raises ModelError where neither is given and the
    architecture is unknown, ambiguous, or has a head whose layers the file does not tell.
    """
    if factory is not None:
        module = _module(factory)
    else:
        module = _torchvision(identity, own_head=head is not None)
    if head is not None:
        path = identity.head.path if identity.head else ""
        if not path:
            raise ModelError(
                "--head says what the head is, but the file does not tell where it lies",
                where=identity.manifest.path,
                fix="give the whole module with --model package.module:factory",
            )
        _put(module, path, _module(head))
    return module.eval().requires_grad_(False)


def call_by_path(reference: str) -> Any:
    """Calls what "package.module:callable" or "path/file.py:callable" names, without arguments.

    Packages are also looked for in the working directory. Raises ModelError, naming the reference,
    where there is no such callable or it fails.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise ModelError(
            f"{reference!r} does not name a callable",
            fix="write package.module:callable or path/file.py:callable",
        )
    with _importable():
        try:
            target: Any = _load_file(place) if place.endswith(".py") else _import(place)
            for part in name.split("."):
                target = getattr(target, part)
            _needs_nothing(target)
            return target()
        except ModelError:
            raise
        except Exception as error:  # whatever a person's own code may raise
            raise ModelError(
                f"{type(error).__name__}: {error}",
                where=reference,
                fix="give a callable that returns the module and needs no argument",
            ) from error


def _torchvision(identity: Identity, *, own_head: bool) -> nn.Module:
    library, _, name = _architecture(identity).partition("/")
    where = identity.manifest.path
    if library != "torchvision":
        raise ModelError(
            f"{library}/{name} is not built here",
            where=where,
            fix="give the module with --model package.module:factory",
        )
    shape = identity.head
    if shape is None or shape.kind == "removed":
        raise ModelError(
            f"the file holds {name} without a head",
            where=where,
            fix="give the module that takes these weights with --model package.module:factory",
        )
    if shape.kind == "several layers" and not own_head:
        raise ModelError(
            f"its head {shape.path} has several layers, and what lies between them "
            "(activation, dropout) is in no file",
            where=where,
            fix="give the head's module with --head package.module:factory, or the whole one "
            "with --model",
        )
    try:
        from torchvision.models import get_model
    except ImportError:
        raise ExtraMissing(
            f"{name} is torchvision's, which is not installed",
            fix="pip install 'model-interop[run]'",
        ) from None
    names = {t.name for t in identity.tensors}
    options = _OPTIONS[name](names) if name in _OPTIONS else {}
    if not own_head:
        options["num_classes"] = shape.outputs
    with _uninitialised():
        try:
            module: nn.Module = get_model(name, weights=None, **options)
        except ValueError as error:
            raise ModelError(
                f"the torchvision here has no {name} ({error})",
                where=where,
                fix="install a newer torchvision, or give --model package.module:factory",
            ) from None
        if not own_head:
            _fit_head(module, identity, shape)
    return module


def _architecture(identity: Identity) -> str:
    if identity.architecture:
        return identity.architecture
    where = identity.manifest.path
    if not identity.architectures:
        raise ModelError(
            f"its architecture is unknown{': ' * bool(identity.ambiguity)}{identity.ambiguity}",
            where=where,
            fix="give the module with --model package.module:factory",
        )
    names = ", ".join(a.name for a in identity.architectures)
    raise ModelError(
        f"its weights fit several architectures ({names})"
        f"{': ' * bool(identity.ambiguity)}{identity.ambiguity}",
        where=where,
        fix="say which with --arch, or give --model package.module:factory",
    )


def _fit_head(module: nn.Module, identity: Identity, head: Head) -> None:
    """Puts a single layer where the file has the head and the library has something else."""
    names = {t.name for t in identity.tensors}
    try:
        there: nn.Module | None = module.get_submodule(head.path)
    except AttributeError:
        there = None
    if there is None:
        raise ModelError(
            f"its head lies at {head.path}, where {identity.architecture} has no module: what else "
            "stands beside it is in no file",
            where=identity.manifest.path,
            fix="give the whole module with --model package.module:factory",
        )
    bias = f"{head.path}.bias" in names
    kind = nn.Linear if head.kind == "linear" else nn.Conv2d
    same = type(there) is kind and there.weight.shape[:2] == (head.outputs, head.in_width)
    if same and (there.bias is not None) == bias:
        return
    if kind is nn.Linear:
        _put(module, head.path, nn.Linear(head.in_width, head.outputs, bias=bias))
    else:
        _put(module, head.path, nn.Conv2d(head.in_width, head.outputs, 1, bias=bias))


def _put(module: nn.Module, path: str, part: nn.Module) -> None:
    try:
        module.set_submodule(path, part)  # type: ignore[no-untyped-call]
    except (AttributeError, ValueError) as error:
        raise ModelError(
            f"no module can be put at {path} ({error})",
            fix="give the whole module with --model package.module:factory",
        ) from None


@contextlib.contextmanager
def _uninitialised() -> Iterator[None]:
    """Within it, no random numbers are drawn for weights that are about to be replaced.

    `load` proves that every one of them was.
    """

    def leave(tensor: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return tensor

    instead: Any = dict.fromkeys(_RANDOM, leave)
    with mock.patch.multiple(nn.init, **instead):
        yield


def _module(reference: str) -> nn.Module:
    made = call_by_path(reference)
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"gave {type(made).__name__}, no torch.nn.Module",
            where=reference,
            fix="give a callable that returns the module",
        )
    return made


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """The working directory's modules can be imported, as `python -m` would let them be."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


def _import(name: str) -> ModuleType:
    return importlib.import_module(name)


def _load_file(path: str) -> ModuleType:
    file = Path(path)
    if not file.is_file():
        raise ModelError("no such file", where=path, fix="write path/file.py:callable")
    # The file's neighbours are importable, as they are where the person runs it.
    name = f"_interop_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(file.resolve().parent))
    try:
        spec.loader.exec_module(module)
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(str(file.resolve().parent))
    return module


def _needs_nothing(target: Any) -> None:
    """TypeError where a call without arguments would fail on its signature."""
    with contextlib.suppress(ValueError):  # some callables of C have no signature
        inspect.signature(target).bind()


def _any(names: set[str], start: str) -> bool:
    return any(name.startswith(start) for name in names)
