"""A pickle's tree -> what stands beside the weights (epoch, labels, arguments), as JSON values.

What has no JSON form, and what is larger than any description of a model, is left out.
"""

from __future__ import annotations

import struct
from contextlib import suppress

from interop.facts import Json
from interop.reading.bytes.budget import Budget
from interop.reading.pickle.records import (
    MOST,
    Array,
    Bag,
    Blob,
    Constructed,
    Global,
    Mapping,
    Node,
    Tensor,
    Text,
    key_text,
)
from interop.reading.pickle.state_dicts import ASIDE, PREPARING

MAX_DEPTH = 12
MAX_VALUES = 300_000
MAX_TEXT = 1 << 20
MAX_ARRAY = 100_000
_VALUE, _VALUE_MEMORY = 900, 40  # nanoseconds and bytes that one takes, read and shown
_FIELDS = 100
# Attributes under which modules keep their classes: YOLO's, mmdetection's, one's own;
# and timm's, which names the architecture.
_STATED_WORDS = """
names classes CLASSES class_names labels label_names class_to_idx idx_to_class id2label
label2id dataset_meta config hparams _hparams pretrained_cfg
"""
_STATED = frozenset(_STATED_WORDS.split())


class _Nothing(Exception):
    """The node has no JSON form."""


def describe(tree: Node, purse: Budget) -> dict[str, Json]:
    """The entries of the top-level mapping that are no tensors; `purse` pays for what is shown."""
    if type(tree) is Constructed and tree.module.startswith("__torch__"):
        return {}
    budget = [MAX_VALUES]
    described = _described(tree, budget)
    used = min(MAX_VALUES, MAX_VALUES - budget[0])
    purse.spend(used * _VALUE, used * _VALUE_MEMORY)
    return described


def _described(tree: Node, budget: list[int]) -> dict[str, Json]:
    mapping = tree.content or tree.state if type(tree) is Constructed else tree
    if type(mapping) is not Mapping or "_modules" in mapping.named:
        stated = _stated(tree, budget)
        return {"module": stated} if stated else {}
    described: dict[str, Json] = {}
    if "dls" in mapping.named:  # a Learner of fastai's: its loaders hold the classes
        with suppress(_Nothing):
            described["vocab"] = _category_maps(mapping.named["dls"], budget)
    for key, value in mapping.named.items():
        if budget[0] < 0:
            break
        if type(value) is Tensor or len(key) > MAX_TEXT:
            continue
        if key in described or key.lower() in ASIDE:
            continue
        if stated := _stated(value, budget):
            described[key] = stated
            continue
        with suppress(_Nothing):
            described[key] = _json(value, budget, MAX_DEPTH)
        if key.lower() in PREPARING:
            described[key] = _marked(value, budget)
    return described


def _stated(node: Node, budget: list[int], depth: int = 3) -> dict[str, Json]:
    """What a pickled module's own attributes say of its classes; {} for anything else."""
    if type(node) is not Constructed or type(node.state) is not Mapping:
        return {}
    named = node.state.named
    if "_modules" not in named:
        return {}
    attributes = {}
    for key in _STATED & named.keys():
        with suppress(_Nothing):
            attributes[key] = _json(named[key], budget, MAX_DEPTH)
    parts = named["_modules"].named if type(named["_modules"]) is Mapping else {}
    if not attributes and len(parts) == 1 and depth:  # a wrapper, DistributedDataParallel say
        return _stated(next(iter(parts.values())), budget, depth - 1)
    return dict(sorted(attributes.items()))


def _category_maps(loaders: Node, budget: list[int]) -> list[Json]:
    """The names in fastai's CategoryMaps, each map once; what else is called vocab are tokens."""
    category_maps: list[Json] = []
    seen: set[int] = set()
    waiting = [loaders]
    while waiting and len(seen) < MAX_VALUES:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if (kind := type(node)) is Constructed:
            if node.module.startswith("fastai.") and node.func.name == "CategoryMap":
                with suppress(_Nothing):
                    category_maps.append(_json(node, budget, MAX_DEPTH))
                continue
            waiting += [n for n in (node.content, node.state, node.items) if n is not None]
            waiting += node.args or ()
        elif kind is Mapping:
            waiting += [*node.named.values(), *(value for _, value in node.others)]
        elif kind in (list, tuple, Bag):
            waiting += node.items if kind is Bag else node
    if not category_maps:
        raise _Nothing
    return category_maps


def _marked(node: Node, budget: list[int]) -> Json:
    """As JSON, with "<what it is>" where a value has no such form.

    Left out, as elsewhere, a broken statement would pass for another one, or for none.
    """
    if type(node) is Mapping:
        return {key: _marked(value, budget) for key, value in list(node.named.items())[:_FIELDS]}
    try:
        return _json(node, budget, MAX_DEPTH)
    except _Nothing:
        function = node.func if type(node) is Constructed else None
        name = type(node).__name__
        if type(function) is Global:
            name = f"{function.module}.{function.name}"
        return f"<{name}>"


def value(node: Node) -> Json:
    """A node as JSON values; None where it has no such form."""
    try:
        return _json(node, [MAX_VALUES], MAX_DEPTH)
    except _Nothing:
        return None


def _json(node: Node, budget: list[int], depth: int) -> Json:
    budget[0] -= 1
    if depth < 0 or budget[0] < 0:
        raise _Nothing
    kind = type(node)
    if node is None or kind is bool:
        return node
    if kind is int:
        if not -MOST <= node <= MOST:
            raise _Nothing
        return node
    if kind is float:
        # JSON has no spelling for these.
        return node if node - node == 0 else str(node)
    if kind is str or kind is Text:
        text = node if kind is str else node.text
        budget[0] -= len(text) >> 6
        if len(text) > MAX_TEXT:
            raise _Nothing
        return text
    if kind is complex:
        return str(node)
    if kind in (list, tuple, Bag):
        return _list(node.items if kind is Bag else node, budget, depth)
    if kind is Mapping:
        return _dict(node, budget, depth)
    if kind is Array:
        return _array(node, budget, depth)
    if kind is Constructed and not node.module.startswith("__torch__"):
        return _object(node, budget, depth)
    raise _Nothing


def _list(items: list[Node], budget: list[int], depth: int) -> list[Json]:
    # A list with a gap would lie about the places of what follows: all of it, or nothing.
    if len(items) > budget[0]:
        raise _Nothing
    return [_json(item, budget, depth - 1) for item in items]


def _dict(mapping: Mapping, budget: list[int], depth: int) -> dict[str, Json]:
    if len(mapping.named) + len(mapping.others) > budget[0]:
        raise _Nothing
    pairs = list(mapping.named.items())
    pairs += [(text, v) for key, v in mapping.others if (text := key_text(key)) is not None]
    result = {}
    for key, value in pairs:
        try:
            result[key] = _json(value, budget, depth - 1)
        except _Nothing:
            continue
    if pairs and not result:
        raise _Nothing
    return result


def _object(record: Constructed, budget: list[int], depth: int) -> Json:
    """An object's entries or attributes, where it is no module but a record of settings."""
    if type(record.content) is Mapping:
        return _dict(record.content, budget, depth)
    if type(record.state) is Mapping and "_modules" not in record.state.named:
        return _dict(record.state, budget, depth)
    if record.items is not None:
        return _list(record.items, budget, depth)
    raise _Nothing


_KINDS = {
    "f2": "e", "f4": "f", "f8": "d", "i1": "b", "i2": "h", "i4": "i", "i8": "q", "b1": "?",
    "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
}  # fmt: skip


def _array(array: Array, budget: list[int], depth: int) -> Json:
    """A numpy scalar as a number or text, a small array of one axis as a list."""
    if array.shape is None or len(array.shape) > 1:
        raise _Nothing
    data = array.data
    if type(data) is Blob and data.size <= MAX_TEXT:
        data = data.bytes()
    if type(data) is list:
        values = _list(data, budget, depth)
    elif type(data) is bytes:
        values = [_json(value, budget, depth) for value in _decoded(array, data)]
    else:
        raise _Nothing
    if array.shape:
        return values
    if len(values) != 1:
        raise _Nothing
    return values[0]


def _decoded(array: Array, data: bytes) -> list[Node]:
    order, kind = array.code[:1], array.code[1:]
    count = array.shape[0] if array.shape else 1
    if count > MAX_ARRAY:
        raise _Nothing
    order = ">" if order == ">" else "<"
    if (letter := _KINDS.get(kind)) is not None:
        if len(data) != count * struct.calcsize(order + letter):
            raise _Nothing
        return list(struct.unpack(f"{order}{count}{letter}", data))
    if kind[:1] in ("U", "S") and kind[1:].isdecimal() and len(kind) < 8:
        width = int(kind[1:]) * (4 if kind[0] == "U" else 1)
        if width == 0 or len(data) != count * width:
            raise _Nothing
        encoding = ("utf-32-be" if order == ">" else "utf-32-le") if kind[0] == "U" else "latin-1"
        parts = (data[at : at + width] for at in range(0, len(data), width))
        return [part.decode(encoding, "replace").rstrip("\x00") for part in parts]
    raise _Nothing
