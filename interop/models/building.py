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
# Layers of side branches that are no part of the answer and may keep another width than the head.
_SIDE = ("aux1.fc2", "aux2.fc2", "AuxLogits.fc")
# Modules whose classes hold no weights: beside a state dict they are a loss or a setting.
_WEIGHTLESS = ("loss", "activation", "pooling", "dropout", "distance", "padding", "upsampling")
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
    architecture is unknown, ambiguous, or has a head whose layers the file does not tell; and
    where the file holds a whole module, whose own forward no weights can tell.
    """
    if factory is not None:
        module = _module(factory)
    else:
        _refuse_whole(identity)
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

    Packages are also looked for in the working directory. What the code prints goes to stderr.
    Raises ModelError, naming the reference, where there is no such callable, or it fails or exits.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise ModelError(
            f"{reference!r} does not name a callable",
            fix="write package.module:callable or path/file.py:callable",
        )
    with _importable(), contextlib.redirect_stdout(sys.stderr):
        try:
            target: Any = _load_file(place) if place.endswith(".py") else _import(place)
            for part in name.split("."):
                target = getattr(target, part)
            _needs_nothing(target)
            return target()
        except ModelError:
            raise
        except (Exception, SystemExit) as error:  # whatever a person's own code may raise
            raise ModelError(
                f"{type(error).__name__}: {error}",
                where=reference,
                fix="give a callable that returns the module and needs no argument",
            ) from error


def _refuse_whole(identity: Identity) -> None:
    """ModelError where the file holds a module's own code: its forward need not be the library's.

    A pickled module names the classes of its layers; a state dict names none.
    """
    what = ""
    if identity.manifest.container == "torchscript":
        what = "holds a TorchScript program"
    else:
        classes = [i for i in identity.manifest.imports if i.danger != "safe"]
        if any(_has_weights(i.module) for i in classes):
            what = f"holds a whole pickled module ({classes[0]}, …)"
    if what:
        raise ModelError(
            f"{what}, whose own forward is not run here and may differ from the library's",
            where=identity.manifest.path,
            fix="give the module with --model package.module:factory",
        )


def _has_weights(module: str) -> bool:
    """Whether classes of a Python module are networks, or layers that hold weights."""
    if module.startswith("torch.nn.modules."):
        return module.split(".")[3] not in _WEIGHTLESS
    return module.startswith(("torchvision.models.", "torchvision.ops.", "torch.fx.", "torch.jit."))


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
    if identity.root:
        raise ModelError(
            f"{name} lies within a module of another make, at {identity.root!r}",
            where=where,
            fix="give the whole module with --model package.module:factory",
        )
    if shape is not None and shape.role not in ("", "classes"):
        raise ModelError(
            f"its head gives {shape.role}, and only classifiers are built here",
            where=where,
            fix="give the module with --model package.module:factory",
        )
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
        _fit_sides(module, identity)
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


def _fit_sides(module: nn.Module, identity: Identity) -> None:
    """Gives the side branches that a file has the width that they have there."""
    shapes = {t.name: t.shape for t in identity.tensors}
    there = dict(module.named_parameters())
    for name in (f"{path}.weight" for path in _SIDE):
        shape = shapes.get(name, ())
        if len(shape) == 2 and name in there and there[name].shape != shape:
            _put(module, name.removesuffix(".weight"), nn.Linear(shape[1], shape[0]))


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
