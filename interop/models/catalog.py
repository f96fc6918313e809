"""A model's name -> what the library has under it: its module, and the entry of the index.

One module a library, each with `names`, `entries`, `module` and `meta`, and for the search for
twins `outline`, `hollow`, `input_size`, `inputs` and `stated`. A name is "library/name":
"torchvision/vit_b_16", "timm/vit_base_patch16_224", "transformers/BertModel".
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from interop.errors import ExtraMissing, InteropError, ModelError
from interop.identity.index.build import IndexEntry

if TYPE_CHECKING:
    from torch import nn

# Each library with the extra that installs it, in the order in which a name is preferred.
LIBRARIES: Mapping[str, str] = MappingProxyType(
    {"torchvision": "run", "timm": "timm", "transformers": "hf"}
)


def names(library: str) -> list[str]:
    """All names of a library that are known here, in its own order."""
    own_names: list[str] = _library(library).names()
    return [f"{library}/{name}" for name in own_names]


def entries(name: str) -> list[IndexEntry]:
    """What the index is told of a model: one entry, or one for each set of names that it has.

    A model of transformers can have other names on disk than in memory, and others again by its
    config. Raises ModelError where the library has no such name.
    """
    library, own = _split(name)
    index_entries: list[IndexEntry] = library.entries(own)
    return index_entries


def entry(name: str) -> IndexEntry:
    """The first of a model's entries: the names that it has in memory."""
    return entries(name)[0]


def module(name: str, **overrides: Any) -> nn.Module:
    """The library's module with weights drawn at random, in eval mode.

    `overrides` go to the library's constructor; for transformers they are fields of the config,
    which is the class's default one but for them. Raises ModelError where the library has no such
    name or refuses the overrides.
    """
    with _refusals(name):
        library, own = _split(name)
        built: nn.Module = library.module(own, **overrides)
        return built.eval()


def meta(name: str, **overrides: Any) -> nn.Module:
    """The same as `module`, its weights without values and without memory."""
    with _refusals(name):
        library, own = _split(name)
        built: nn.Module = library.meta(own, **overrides)
        return built.eval()


def hollow(entry: IndexEntry, **overrides: Any) -> nn.Module:
    """The module that an entry is of, in eval mode; its weights are whatever memory held."""
    from interop.models.init_modes import Undrawn

    library, own = _split(entry.name)
    with Undrawn():
        built: nn.Module = library.hollow(own, entry, **overrides)
    return built.eval()


def outline(entry: IndexEntry) -> nn.Module:
    """The module that an entry is of, to be looked at alone: nothing need have memory."""
    library, own = _split(entry.name)
    built: nn.Module = library.outline(own, entry)
    return built.eval()


def input_size(entry: IndexEntry) -> tuple[int, ...] | None:
    """The shape of one input (channels, height, width) that the library states; None for others."""
    library, own = _split(entry.name)
    size: tuple[int, ...] | None = library.input_size(own)
    return size


def inputs(entry: IndexEntry, module: nn.Module, size: tuple[int, ...] | None) -> dict[str, Any]:
    """Seeded inputs that the module takes, by the name of its parameter; pictures of `size`."""
    library, own = _split(entry.name)
    arguments: dict[str, Any] = library.inputs(own, module, size)
    return arguments


def stated(entry: IndexEntry, module: nn.Module) -> dict[str, Any]:
    """What the library states of a model that no weight tells, by what it is called in words."""
    library, own = _split(entry.name)
    known: dict[str, Any] = library.stated(own, module)
    return known


def built_from(libraries: Mapping[str, str] | tuple[str, ...] = tuple(LIBRARIES)) -> dict[str, str]:
    """The versions of the libraries, and of torch, that are installed here."""
    return {name: _version(name) for name in ("torch", *libraries)}


@contextlib.contextmanager
def _refusals(name: str) -> Iterator[None]:
    """What a constructor raises is a ModelError; of a library that is lacking, ExtraMissing."""
    library = name.partition("/")[0]
    try:
        yield
    except InteropError:
        raise
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != library:
            fix = f"pip install 'model-interop[{LIBRARIES.get(library, 'run')}]'"
            raise ExtraMissing(f"{library} cannot be imported ({error})", fix=fix) from error
        raise _missing(library) from error
    except Exception as error:  # a library's constructors may raise anything
        reason = (str(error).strip() or "no reason given").splitlines()[0]
        what = f"{library} does not build it: {type(error).__name__}: {reason}"
        fix = "leave out or change what was given with --set or --config"
        raise ModelError(what, where=name, fix=fix) from error


def _missing(library: str) -> ExtraMissing:
    return ExtraMissing(
        f"{library} is not installed",
        fix=f"pip install 'model-interop[{LIBRARIES.get(library, 'run')}]'",
    )


def _split(name: str) -> tuple[Any, str]:
    library, _, own = name.partition("/")
    if library not in LIBRARIES or not own:
        what = f"{name!r} names no library's model"
        raise ModelError(what, fix=f"write library/name; the libraries are {', '.join(LIBRARIES)}")
    return _library(library), own


def _library(name: str) -> Any:
    _version(name)
    return import_module(f"interop.models.libraries.{name}.catalog")


def _version(name: str) -> str:
    try:
        return version(name).partition("+")[0]
    except PackageNotFoundError:
        raise _missing(name) from None
