"""A module and an Identity -> the module with the file's weights, and the proof of it.

`load_state_dict(strict=False)` on a prefixed checkpoint loads 0 of 122 tensors and says nothing;
this either loads every byte or says what did not fit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from time import perf_counter

import torch
from torch import nn

from interop.facts import Identity, Json, Proof, ProofName
from interop.models import key_mapping
from interop.models.weights import Fresh, state_dict
from interop.rules import listed

NAME = ProofName.LOADED_FRACTION
_SHOWN = 4
_EXAMPLES = 5
Faults = dict[str, list[str]]


def ties(identity: Identity) -> dict[str, str]:
    """Names that a safetensors file left out, since their bytes stand there under another name.

    `safetensors.torch.save_model` writes each into the header, {left out: kept}; names come without
    the identity's prefix.
    """
    there = {t.name for t in identity.tensors}
    front = "" if "…" in identity.prefix else identity.prefix
    ties = {}
    for alias, kept in identity.manifest.metadata.items():
        if isinstance(kept, str) and kept.startswith(front) and alias.startswith(front):
            alias, kept = alias[len(front) :], kept[len(front) :]
            if kept in there and alias not in there:
                ties[alias] = kept
    return ties


def load(
    module: nn.Module,
    identity: Identity,
    *,
    supplied: frozenset[str] | None = None,
    assign: bool = True,
) -> Proof:
    """Gives `module` the weights of `identity` (in place) and proves "loaded fraction".

    It holds when every tensor of the checkpoint, under the name that its prefix leaves, is in the
    module, every tensor of the module came from the checkpoint, and each equals its source bit for
    bit, read a second time. What transformers renames or rearranges between disk and memory is
    undone for that, and stated (`renamed`, `converted`), as are names that the file has once for
    several (`ties`) and what is left aside: batch counters that files from before torch 0.4.1 do
    not have, tables that the class computes itself (`ignored`, `computed`). Where names or shapes
    differ, nothing is loaded. Parameters take the checkpoint's dtype. `supplied` names tensors of
    the module that another file has (an adapter its own head): then the base's own head, outside
    the class's base model, is left aside, and that is stated (`supplied`, `left_of_base`).
    Without `assign` the module has its weights already, and is only compared with the file. Raises
    what `state_dict` raises.
    """
    start = perf_counter()
    source = state_dict(identity.tensors, identity.manifest.path)
    aliases = ties(identity)
    target = module.state_dict()
    given = {**source, **{alias: source[kept] for alias, kept in aliases.items()}}
    placed = key_mapping.place(module, target, given, identity.prefix)
    state, tied = _with_ties(module, target, placed.state)
    counters = [n for n in target if n not in state and n.endswith("num_batches_tracked")]
    computed = _computed(module, target, state)
    ignored = _ignored(module, placed.left, aliases)
    other, spare = _of_another(module, target, placed, supplied)
    state = {n: t for n, t in state.items() if n not in other}
    untied = _untied(target, placed.state)
    split = untied if key_mapping.is_transformers(module) else []  # as from_pretrained takes it
    faults: Faults = {
        "missing": [n for n in target if n not in {*state, *counters, *computed, *other}],
        "unexpected": [n for n in placed.left if n not in {*ignored, *aliases, *spare}],
        "reshaped": [
            f"{n} {tuple(t.shape)} for {tuple(target[n].shape)}"
            for n, t in state.items()
            if n in target and t.shape != target[n].shape and n not in tied
        ],
        "untied": [] if split else untied,
    }
    if not any(faults.values()):
        own = {n: torch.zeros_like(target[n]) for n in counters}
        own |= {n: t.clone() for n, t in computed.items()}
        own |= {n: target[n].clone() for n in other}
        if assign and (refusal := _assign(module, {**state, **own})):
            faults["refused"] = [refusal]
        faults["unequal"] = _unequal(module, placed, Fresh(identity.tensors), tied, other)
    bad = {*other, *faults.get("unequal", ()), *(f.partition(" ")[0] for f in faults["reshaped"])}
    sources = [n for n in _sources(placed, bad) if n in source]
    weighed = {n: t for n, t in source.items() if n not in {*ignored, *spare}}
    filled = [n for n in state if n in target and n not in bad]
    wanted = {n: t for n, t in target.items() if n not in other}
    share = _share(weighed, sources), _share(wanted, [*filled, *counters, *computed])
    holds = not any(faults.values())
    facts = _stated(placed, {**aliases, **tied}, ignored, computed, split)
    facts |= {"supplied": other, "left_of_base": spare} if supplied is not None else {}
    facts |= {"left_over": list(identity.left_over)} if identity.left_over else {}
    return Proof(
        NAME,
        holds,
        _sentence(len(sources), len(weighed), share, faults, identity)
        + (_aside(facts) if holds else ""),
        {
            "tensors": len(source),
            "loaded": len(sources) if holds else 0,
            "paired": len(sources),
            "checkpoint_bytes": sum(t.nbytes for t in source.values()),
            "checkpoint_fraction": share[0],
            "module_fraction": share[1],
            "place": identity.place,
            "prefix": identity.prefix,
            "counters_absent": len(counters),
            **facts,
            **{kind: names for kind, names in faults.items() if names},
        },
        perf_counter() - start,
    )


def _with_ties(
    module: nn.Module, target: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The state with each tensor that the module has under several names under all of them.

    Those are given as one parameter, so that they are one afterwards too. Also: the names that the
    file lacks, each with the one that it was taken from.
    """
    whole = dict(state)
    tied: dict[str, str] = {}
    parameters = dict(module.named_parameters(remove_duplicate=False))
    for group in key_mapping.tied_names(module, list(target)):
        there = [n for n in group if n in state]
        if not there or any(not same_bits(state[there[0]], state[n]) for n in there[1:]):
            continue
        first = state[there[0]]
        one = nn.Parameter(first, requires_grad=False) if group[0] in parameters else first
        whole |= dict.fromkeys(group, one)
        tied |= {n: there[0] for n in group if n not in state}
    return whole, tied


def _of_another(
    module: nn.Module,
    target: Mapping[str, torch.Tensor],
    placed: key_mapping.Placed,
    supplied: frozenset[str] | None,
) -> tuple[list[str], list[str]]:
    """What another file supplies of the module, and what that puts aside of this one: its head."""
    if supplied is None:
        return [], []
    other = [n for n in target if n in supplied]
    front = f"{getattr(module, 'base_model_prefix', '')}."
    heads = [name for name, new in placed.left.items() if not new.startswith(front)]
    taken = [name for new, name in placed.names.items() if new in supplied]
    return other, [*heads, *taken]


def _computed(
    module: nn.Module, target: Mapping[str, torch.Tensor], state: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Tensors that a file need not have, since the class computes them."""
    if not key_mapping.is_transformers(module):
        return {}
    tensors = {n: key_mapping.computed(module, n) for n in target if n not in state}
    return {n: tensor for n, tensor in tensors.items() if tensor is not None}


def _ignored(
    module: nn.Module, left: Mapping[str, str], aliases: Mapping[str, str]
) -> dict[str, str]:
    """Tensors of the file that the class itself leaves aside, and what of it is known."""
    if not key_mapping.is_transformers(module):
        return {}
    return {
        name: new
        for name, new in left.items()
        if name not in aliases
        and (key_mapping.is_ignored(module, new) or key_mapping.is_ignored(module, name))
    }


def _sources(placed: key_mapping.Placed, bad: set[str]) -> Iterator[str]:
    """The file's tensors that are in the module."""
    yield from (name for new, name in placed.names.items() if new not in bad)
    for rearranged in placed.made:
        if not bad & {*rearranged.targets, *rearranged.sources}:
            yield from rearranged.sources


def _unequal(
    module: nn.Module,
    placed: key_mapping.Placed,
    again: Mapping[str, torch.Tensor],
    tied: Mapping[str, str],
    other: Sequence[str],
) -> list[str]:
    """Tensors of the module that are not, bit for bit, what the file has for them."""
    values = module.state_dict()
    wrong = [
        new
        for new, name in placed.names.items()
        if name in again and new not in other and not same_bits(values[new], again[name])
    ]
    wrong += [name for name, kept in tied.items() if not same_bits(values[name], values[kept])]
    for rearranged in placed.made:
        back, kept = key_mapping.undone(module, rearranged, values), rearranged.sources
        wrong += [n for n in kept if n not in back or not same_bits(back[n], again[n])]
    return wrong


def _stated(
    placed: key_mapping.Placed,
    tied: Mapping[str, str],
    ignored: Mapping[str, str],
    computed: Mapping[str, torch.Tensor],
    split: Sequence[str],
) -> dict[str, Json]:
    """The map from the file's names to the module's, and what it leaves aside."""
    renamed = {name: new for new, name in placed.names.items() if name != new}
    facts: dict[str, Json] = {}
    if renamed:
        examples = dict(list(renamed.items())[:_EXAMPLES])
        facts["renamed"] = {"count": len(renamed), "examples": examples}
    if placed.made:
        facts["converted"] = {
            "count": len(placed.made),
            "examples": [
                {"from": list(m.sources[:_SHOWN]), "to": list(m.targets), "by": list(m.steps)}
                for m in placed.made[:_EXAMPLES]
            ],
        }
    aside = {"ignored": list(ignored), "computed": list(computed), "not_tied": list(split)}
    facts |= {"ties": dict(tied)} if tied else {}
    return facts | {key: names for key, names in aside.items() if names}


def _aside(facts: Mapping[str, Json]) -> str:
    """What the sentence has to add, so that nothing is hidden in the facts."""
    parts = []
    if "renamed" in facts:
        parts.append(f"{facts['renamed']['count']} under the class's new names")
    if "converted" in facts:
        parts.append(f"{facts['converted']['count']} rearranged and back")
    if "ties" in facts:
        parts.append(f"{len(facts['ties'])} tied to another")
    if "ignored" in facts:
        names = facts["ignored"]
        shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
        parts.append(f"{len(names)} left aside by the class itself: {shown}")
    if "left_over" in facts:
        parts.append(f"{len(facts['left_over'])} left over: {listed(facts['left_over'], _SHOWN)}")
    if facts.get("left_of_base"):
        parts.append(f"{len(facts['left_of_base'])} of its own head left aside")
    if "computed" in facts:
        parts.append(f"{len(facts['computed'])} computed by the class, in no file")
    return f" ({'; '.join(parts)})" if parts else ""


def _assign(module: nn.Module, state: Mapping[str, torch.Tensor]) -> str:
    """Puts the tensors in the module's place of its own; gives what it objects to."""
    given = OrderedDict(state)
    # The names and shapes are this module's own, so are the versions that its parts ask for: no
    # file tells them, and without them some modules refuse or migrate what needs no migration.
    versions = getattr(module.state_dict(), "_metadata", None)
    if versions is not None:
        given._metadata = versions  # type: ignore[attr-defined]
    try:
        module.load_state_dict(given, strict=True, assign=True)
    except Exception as error:  # a module's own hooks may raise anything
        return f"{type(error).__name__}: {(str(error).strip() or 'no reason').splitlines()[0]}"
    module.requires_grad_(False)
    return ""


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors agree in dtype, shape and every bit (a NaN equals itself)."""
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a is b:
        return True
    a, b = (t.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for t in (a, b))
    return torch.equal(a, b)


def _untied(target: Mapping[str, torch.Tensor], source: Mapping[str, torch.Tensor]) -> list[str]:
    """Names that are one tensor in the module and several different ones in the file.

    Loaded one after the other, the last would win and the first be lost.
    """
    tied: dict[tuple[int, torch.Size, tuple[int, ...]], str] = {}
    pairs = []
    for name, tensor in target.items():
        if not tensor.numel() or tensor.is_meta or name not in source:
            continue
        first = tied.setdefault((tensor.data_ptr(), tensor.shape, tensor.stride()), name)
        if first != name and not same_bits(source[first], source[name]):
            pairs.append(f"{first} = {name}")
    return pairs


def _share(tensors: Mapping[str, torch.Tensor], names: Sequence[str]) -> float:
    total = sum(t.nbytes for t in tensors.values())
    return sum(tensors[n].nbytes for n in names) / total if total else 0.0


def _sentence(
    paired: int,
    total: int,
    share: tuple[float, float],
    faults: Mapping[str, Sequence[str]],
    identity: Identity,
) -> str:
    if not any(faults.values()):
        part = f"part {identity.place!r}" if identity.left_over and identity.place else "checkpoint"
        return (
            f"all {total} tensors of the {part} fill the whole module{identity.of_assumed}, each "
            "bit for bit as in the file"
        )
    words = {
        "missing": "not in the checkpoint",
        "unexpected": "not in the module",
        "reshaped": "of another shape",
        "untied": "one tensor in the module and several in the file",
        "unequal": "changed by loading",
        "refused": "refused by the module's own code",
    }
    parts = [
        f"{len(names)} {words[kind]} ({', '.join(names[:_SHOWN])}"
        f"{', …' if len(names) > _SHOWN else ''})"
        for kind, names in faults.items()
        if names
    ]
    return (
        f"{paired} of {total} tensors fit, {100 * share[0]:.3g} % of the checkpoint's bytes and "
        f"{100 * share[1]:.3g} % of the module's: " + "; ".join(parts)
    )
