"""Tensors by their paths -> what a forward is called with.

A path names an argument of the forward, then keys and places in it: "x", "batch.image", "feats[0]",
"batch.views[0].image". Which inputs are named so is said by a person, and checked here against the
forward's own parameters.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Self

from torch import nn

from interop.errors import ConfigError

PATH = r"[A-Za-z_]\w*(?:\.[\w-]+|\[\d+\])*"
_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]")
# An argument is called by its place or by its name; its inputs may be entries of one dict.
Way = tuple[tuple[str, ...], bool]


class Record(dict[str, Any]):
    """A dict whose entries are attributes too: code reads `batch["image"]` or `batch.image`."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def root(path: str) -> str:
    """The argument of the forward that a path begins with."""
    return re.split(r"[.\[]", path, maxsplit=1)[0]


def assembled(paths: Sequence[str], values: Sequence[Any], forward: Any = None) -> dict[str, Any]:
    """Return the value of each argument, in the order of the paths.

    Keys make a dict and places a list, unless the annotation of `forward` names a tuple, a named
    tuple or a dataclass.
    """
    trees: dict[str, Any] = {}
    for path, value in zip(paths, values, strict=True):
        tree: dict[Any, Any] = trees
        last: str | int = root(path)
        for key, place in _STEP.findall(path):
            tree = tree.setdefault(last, {})
            last = key or int(place)
        tree[last] = value
    hints = _hints(forward) if any(isinstance(t, dict) for t in trees.values()) else {}
    return {name: _built(tree, hints.get(name)) for name, tree in trees.items()}


def check(paths: Sequence[str]) -> None:
    """Raise ConfigError if paths exclude each other, or a list has no first place."""
    for one in paths:
        inside = [p for p in paths if p.startswith((f"{one}.", f"{one}["))]
        if inside:
            what = f"{one} is one tensor, and {inside[0]} a part of it"
            raise ConfigError(what, where="--input", fix="keep one of the two")
    for path in paths:
        for match in re.finditer(r"\[(\d+)\]", path):
            before, place = path[: match.start()], int(match[1])
            if place and not any(p.startswith(f"{before}[{place - 1}]") for p in paths):
                what = f"{before}[{place - 1}] is missing before {before}[{place}]"
                raise ConfigError(what, where="--input", fix="describe each entry of the list")


def ways(paths: Sequence[str], module: nn.Module) -> list[Way]:
    """Return the ways in which the inputs of these paths can be given to the module's forward.

    Each is the paths, and whether arguments are passed by name. Raises ConfigError if there is
    none, with all that forward asks for.
    """
    check(paths)
    try:
        takes = _Takes.of(module)
    except (TypeError, ValueError):  # a scripted module does not say
        return [(tuple(paths), False)]
    found = _ways(tuple(paths), list(dict.fromkeys(map(root, paths))), takes)
    if not found:
        given = ", ".join(dict.fromkeys(map(root, paths)))
        what = f"forward takes {', '.join(takes.all) or 'nothing'}, and is given {given}"
        each = " ".join(f"--input '{n}=float32(batch,…)'" for n in takes.needed or takes.placed)
        raise ConfigError(what, fix=f"give each by its name, in --data or as {each}")
    return found


@dataclasses.dataclass(frozen=True, slots=True)
class _Takes:
    """The parameters of a forward: `placed` by their place, `named` by their name, `needed` without
    a default; `more_places` is its *args, `more_names` its **kwargs."""

    all: list[str]
    placed: list[str]
    named: list[str]
    needed: list[str]
    more_places: bool
    more_names: bool

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        kinds = inspect.Parameter
        parameters = list(inspect.signature(module.forward).parameters.values())
        placed = (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
        named = (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)
        one = (*placed, kinds.KEYWORD_ONLY)
        return cls(
            [p.name for p in parameters],
            [p.name for p in parameters if p.kind in placed],
            [p.name for p in parameters if p.kind in named],
            [p.name for p in parameters if p.kind in one and p.default is p.empty],
            any(p.kind is kinds.VAR_POSITIONAL for p in parameters),
            any(p.kind is kinds.VAR_KEYWORD for p in parameters),
        )


def _ways(paths: tuple[str, ...], roots: list[str], takes: _Takes) -> list[Way]:
    known = [r for r in roots if r in takes.named]
    if known and (len(known) == len(roots) or takes.more_names):
        in_place = roots == takes.placed[: len(roots)]
        return [(paths, not in_place)] if set(takes.needed) <= set(roots) else []
    if takes.more_names and not takes.placed:
        return [(paths, True)]
    # Names of a person's own, in the order of forward's arguments; no argument in another's place.
    elsewhere = any(takes.placed[i : i + 1] != [r] for i, r in enumerate(roots) if r in known)
    fits = takes.more_places or len(takes.needed) <= len(roots) <= len(takes.placed)
    found: list[Way] = [(paths, False)] if fits and not elsewhere else []
    if not known and takes.placed and len(takes.needed) < 2 and roots == list(paths):
        found.append((tuple(f"{takes.placed[0]}.{path}" for path in paths), False))
    return found


def _hints(forward: Any) -> Mapping[str, Any]:
    try:
        return typing.get_type_hints(forward)
    except Exception:  # an annotation may name what is not there
        return {}


def _built(tree: Any, hint: Any) -> Any:
    """One argument from the tree of its parts."""
    if not isinstance(tree, dict):
        return tree
    hint = _plain(hint)
    inner = typing.get_args(hint)
    if all(isinstance(key, int) for key in tree):
        of_each = inner[0] if inner else None
        items = [_built(tree[i], of_each) for i in sorted(tree)]
        return tuple(items) if (typing.get_origin(hint) or hint) is tuple else items
    kind = hint if isinstance(hint, type) else None
    fields = _hints(kind) if kind is not None else {}
    of_each = inner[-1] if inner else None
    entries = {k: _built(v, fields.get(k, of_each)) for k, v in tree.items()}
    if kind is not None and (dataclasses.is_dataclass(kind) or hasattr(kind, "_fields")):
        return kind(**entries)
    return Record(entries)


def _plain(hint: Any) -> Any:
    """The annotation without Optional."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [a for a in typing.get_args(hint) if a is not type(None)]
        return rest[0] if len(rest) == 1 else None
    return hint
