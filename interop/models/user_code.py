"""A reference to a person's own code -> what it makes, or one clear error."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from interop.errors import ModelError
from interop.facts import Architecture, Head, HeadKind, Identity


def call_by_path(reference: str) -> Any:
    """Calls what "package.module:callable" or "path/file.py:callable" names, without arguments.

    Packages are also looked for in the working directory. What the code prints goes to stderr.
    Raises ModelError, naming the reference, where there is no such callable, or it fails or exits.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        what = f"{reference!r} does not name a callable"
        raise ModelError(what, fix="write package.module:callable or path/file.py:callable")
    with importable(), contextlib.redirect_stdout(sys.stderr):
        try:
            load = _load_file if place.endswith(".py") else importlib.import_module
            target: Any = load(place)
            for part in name.split("."):
                target = getattr(target, part)
            _needs_nothing(target)
            return target()
        except ModelError:
            raise
        except (Exception, SystemExit) as error:  # whatever a person's own code may raise
            fix = "give a callable that returns the module and needs no argument"
            what = f"{type(error).__name__}: {error}"
            raise ModelError(what, where=reference, fix=fix) from error


def module_by_path(reference: str) -> nn.Module:
    """What `call_by_path` gives, which has to be a module."""
    module = call_by_path(reference)
    if not isinstance(module, nn.Module):
        what = f"gave {type(module).__name__}, no torch.nn.Module"
        raise ModelError(what, where=reference, fix="give a callable that returns the module")
    return module


@contextlib.contextmanager
def afresh(reference: str) -> Iterator[None]:
    """Within it, the code behind a reference, and what lies beside it, is imported anew: what it
    draws by chance as it is imported is drawn again."""
    place = reference.rpartition(":")[0]
    file = place if place.endswith(".py") else getattr(sys.modules.get(place), "__file__", None)
    beside = str(Path(file).resolve().parent) + os.sep if file else ""
    away = {
        name: module
        for name, module in list(sys.modules.items())
        if beside and name != "__main__"
        and str(getattr(module, "__file__", None) or "").startswith(beside)
    }  # fmt: skip
    for name in away:
        del sys.modules[name]
    try:
        yield
    finally:
        sys.modules.update(away)


@contextlib.contextmanager
def importable() -> Iterator[None]:
    """The working directory's modules can be imported, as `python -m` would let them be."""
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(here)


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


def name_by_factory(identity: Identity, factory: str) -> Identity:
    """Say that the file is of the factory's module, once its names and shapes prove it.

    The head is the module's last linear layer where it has one. Raises ModelError where the file's
    tensors are not the module's, or the factory fails.
    """
    module = call_by_path(factory)
    if not isinstance(module, nn.Module):
        raise ModelError(f"gave {type(module).__name__}, no torch.nn.Module", where=factory)
    wanted = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    there = {t.name: t.shape for t in identity.tensors}
    # Files from before torch 0.4.1 have no counters of batches, and it loads them all the same.
    wanted = {
        n: s for n, s in wanted.items() if n in there or not n.endswith(".num_batches_tracked")
    }
    strange = [n for n in {**wanted, **there} if wanted.get(n) != there.get(n)]
    if strange:
        what = f"{len(strange)} of its tensors are not those of {factory}: {', '.join(strange[:3])}"
        fix = "give the factory with the arguments that the file was trained with"
        raise ModelError(what, where=identity.manifest.path, fix=fix)
    architectures = (Architecture(factory, f"--model {factory}"),)
    head = _head(module) or identity.head
    return replace(identity, architectures=architectures, ambiguity="", head=head)


def _head(module: nn.Module) -> Head | None:
    """The last layer with weights in definition order, where it is a linear one."""
    layers = [
        (n, m) for n, m in module.named_modules() if next(m.parameters(False), None) is not None
    ]
    if not layers or not isinstance(layers[-1][1], nn.Linear) or not layers[-1][0]:
        return None
    path, last = layers[-1]
    names = tuple(f"{path}.{n}" for n, _ in last.named_parameters(recurse=False))
    why = "the module's last layer"
    return Head(path, HeadKind.LINEAR, last.in_features, last.out_features, names, why)
