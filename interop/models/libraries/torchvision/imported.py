"""torchvision, imported without torch's compiler: for one function that a rare case needs, it
would take longer to load than all of torchvision."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

_COMPILER, _WHERE = "torch._dynamo", "torch._dynamo.utils"


def torchvision() -> Any:
    """The library. Raises ImportError where there is none."""
    with _compiler_on_demand() if "torchvision" not in sys.modules else contextlib.nullcontext():
        return importlib.import_module("torchvision")


class _OnDemand(ModuleType):
    """Stands for the module while torchvision takes a name out of it. The function that it takes
    loads the compiler when it is called; whatever else is asked for loads it at once."""

    def is_compile_supported(self, device: str) -> Any:
        return _real().is_compile_supported(device)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # Python's own questions of a module
            raise AttributeError(name)
        return getattr(_real(), name)


def _real() -> ModuleType:
    for name in (_COMPILER, _WHERE):
        if isinstance(sys.modules.get(name), _OnDemand):
            del sys.modules[name]
    return importlib.import_module(_WHERE)


@contextlib.contextmanager
def _compiler_on_demand() -> Iterator[None]:
    if _COMPILER in sys.modules:
        yield
        return
    sys.modules |= {name: _OnDemand(name) for name in (_COMPILER, _WHERE)}
    try:
        yield
    finally:
        for name in (_COMPILER, _WHERE):
            if isinstance(sys.modules.get(name), _OnDemand):
                del sys.modules[name]
