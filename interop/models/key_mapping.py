"""A module and a file's tensors by name -> which tensor is which of the module's, and how.

Nearly always the names are the same. transformers renames, splits and joins tensors between disk
and memory by a table of its own, which is applied here; what it does to a tensor can be undone, and
`undone` does so, which proves that nothing was lost on the way.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True, slots=True)
class Rearranged:
    """Tensors of the module that are made of several of the file, or of one that is rearranged.

    `steps` are the names of what was done; `table` is transformers' own, kept to be undone.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    steps: tuple[str, ...]
    table: Any = field(repr=False)


@dataclass(frozen=True, slots=True)
class Placed:
    """`state` by the module's names; `names` says which tensor of the file each is, where it is
    one as it lies there; `left` are the file's that have no place, under the module's manner of
    naming them."""

    state: dict[str, torch.Tensor]
    names: dict[str, str]
    made: tuple[Rearranged, ...]
    left: dict[str, str]


def is_transformers(module: nn.Module) -> bool:
    """Whether a module is of a class of transformers', or made of one by inheritance."""
    library = sys.modules.get("transformers.modeling_utils")
    return library is not None and isinstance(module, library.PreTrainedModel)


def place(module: nn.Module, target: Tensors, source: Tensors, prefix: str = "") -> Placed:
    """Where each tensor of the file goes.

    `prefix` is what was stripped from the file's names; so much of it as is the module's own after
    all ("model." of many language models) is put in front again.
    """
    table = _Table(module) if is_transformers(module) else None
    best: dict[str, tuple[str, str | None]] = {}
    for front in _fronts(prefix):
        renames = {n: _renamed(table, front + n, target) for n in source}
        if not best or _unplaced(renames, target) < _unplaced(best, target):
            best = renames
        if not _unplaced(best, target):
            break
    return _placed(module, table, best, target, source)


def _fronts(prefix: str) -> list[str]:
    parts = [] if "…" in prefix else prefix.split(".")[:-1]
    return [".".join([*parts[n:], ""]) for n in range(len(parts), -1, -1)] if parts else [""]


def _unplaced(renames: Mapping[str, tuple[str, str | None]], target: Tensors) -> int:
    return sum(name not in target for name, _ in renames.values())


class _Table:
    """transformers' table for one module: renamings and converters."""

    def __init__(self, module: Any) -> None:
        from transformers import conversion_mapping, core_model_loading

        entries = conversion_mapping.get_model_conversion_mapping(module)
        self.library = core_model_loading
        self.front = module.base_model_prefix
        self.renamings = [e for e in entries if isinstance(e, core_model_loading.WeightRenaming)]
        self.converters = [e for e in entries if isinstance(e, core_model_loading.WeightConverter)]
        self.by_pattern = {p: c for c in self.converters for p in c.source_patterns}

    def renamed(self, name: str, target: Tensors) -> tuple[str, str | None]:
        """As transformers does it: a name that is the module's already may need its front alone."""
        rename: Any = self.library.rename_source_key
        new, pattern = rename(name, self.renamings, self.converters, self.front, target)
        if new not in target and name in target:
            new, pattern = rename(name, [], [], self.front, target)
        return new, pattern

    def before_conversion(self, name: str) -> str:
        renamed: str = self.library.apply_renamings(name, self.renamings)
        return renamed

    def order(self, names: Iterable[str]) -> list[str]:
        """The order in which tensors that are joined are to come: by their numbers."""
        return sorted(names, key=self.library.dot_natural_key)


def _renamed(table: _Table | None, name: str, target: Tensors) -> tuple[str, str | None]:
    return table.renamed(name, target) if table is not None else (name, None)


def _placed(
    module: nn.Module,
    table: _Table | None,
    renames: Mapping[str, tuple[str, str | None]],
    target: Tensors,
    source: Tensors,
) -> Placed:
    state: dict[str, torch.Tensor] = {}
    names: dict[str, str] = {}
    left: dict[str, str] = {}
    joined: dict[str, list[str]] = {}
    for name, (new, pattern) in renames.items():
        if new not in target or new in names:  # two for one place: the second is left over
            left[name] = new
        elif pattern is not None:
            joined.setdefault(new, []).append(name)
        else:
            state[new], names[new] = source[name], name
    rearrangements = []
    for new, sources in joined.items():
        assert table is not None
        ordered = table.order(sources)
        converter: Any = deepcopy(table.by_pattern[renames[sources[0]][1] or ""])
        for name in ordered:
            converter.add_tensor(new, name, renames[name][1], source[name])
        results = {k: _only(v) for k, v in _converted(converter, new, module).items()}
        state |= results
        steps = tuple(type(step).__name__ for step in converter.operations)
        rearrangements.append(Rearranged(tuple(ordered), tuple(results), steps, (table, converter)))
    return Placed(state, names, tuple(rearrangements), left)


def _converted(converter: Any, name: str, module: Any) -> dict[str, Any]:
    done: dict[str, Any] = converter.convert(name, model=module, config=module.config)
    return done


def _only(value: Any) -> torch.Tensor:
    tensor: torch.Tensor = value[0] if isinstance(value, list) else value
    return tensor


def undone(module: nn.Module, made: Rearranged, held: Tensors) -> dict[str, torch.Tensor]:
    """The file's tensors again, made of the module's; empty where that cannot be done."""
    table, converter = made.table
    try:
        reverse = converter.reverse_transform()
        for target in made.targets:
            first, pattern = reverse.rename_source_key(target)
            reverse.add_tensor(first, target, pattern, held[target])
        back = {k: _only(v) for k, v in _converted(reverse, first, module).items()}
    except Exception:  # the library's own table may lack the way back
        return {}
    by_name = {table.before_conversion(name): name for name in made.sources}
    front = f"{table.front}."
    state = {}
    for key, tensor in back.items():
        name = next((by_name[k] for k in (key, key.removeprefix(front), front + key)
                     if k in by_name), None)  # fmt: skip
        if name is not None:
            state[name] = tensor
    return state


def is_ignored(module: Any, name: str) -> bool:
    """Whether transformers leaves such a tensor of an older file aside."""
    patterns = {*(module._keys_to_ignore_on_load_unexpected or ())}
    buffers = [n for n, _ in module.named_buffers()]
    for tail, pattern in (
        ("rotary_emb.inv_freq", r"rotary_emb\.inv_freq"),
        ("position_ids", r"(^|\.)position_ids$"),
    ):
        if any(n.endswith(tail) for n in buffers):
            patterns.add(pattern)
    return _matches(patterns, name)


def computed(module: Any, name: str) -> torch.Tensor | None:
    """A tensor that transformers computes itself where a file lacks it; None where it does not.

    A buffer is as its constructor left it. A parameter (the sinusoidal positions of Marian) is what
    the class's own rules for new weights give, if they give the same whatever is drawn.
    """
    if not _matches(module._keys_to_ignore_on_load_missing or (), name):
        return None
    buffer: torch.Tensor | None = dict(module.named_buffers()).get(name)
    if buffer is not None:
        return buffer
    owner, _, own = name.rpartition(".")
    tensors: list[torch.Tensor] = []
    for seed in (0, 1):
        part = deepcopy(module.get_submodule(owner))
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            getattr(part, own).fill_(seed)  # what the rules leave untouched differs as well
            module._init_weights(part)
        tensors.append(getattr(part, own).detach())
    return tensors[0] if torch.equal(*tensors) else None


def _matches(patterns: Iterable[str], name: str) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


def tied_names(module: nn.Module, names: Sequence[str]) -> list[list[str]]:
    """The names of one and the same tensor of the module, those that have one name left out."""
    owners: dict[int, list[str]] = {}
    there = set(names)
    for named in (module.named_parameters, module.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            if name in there:
                owners.setdefault(id(tensor), []).append(name)
    return [group for group in owners.values() if len(group) > 1]
