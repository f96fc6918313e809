"""A pickled module's records -> its members, and the classes and plain attributes of its parts.

A module is known by its `_parameters` and `_modules`; nothing of the file is imported for that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from interop.facts import Json, ModuleSpec
from interop.reading.pickle.records import Bag, Constructed, Global, Mapping, Node, OverLimit

MAX_DEPTH = 100
MAX_SCALARS = 64  # attributes of one module
MAX_STEPS = 100_000  # on the way to a place
MAX_WORD = 200  # letters of a text attribute


def is_module(node: Node) -> bool:
    """Whether a record is a pickled module, or an object of a TorchScript class."""
    if type(node) is not Constructed or type(node.state) is not Mapping:
        return False
    if node.module.startswith("__torch__"):  # a TorchScript class
        return True
    named = node.state.named
    return type(named.get("_parameters")) is Mapping and type(named.get("_modules")) is Mapping


def members(module: Constructed) -> tuple[list[tuple[str, Node]], list[tuple[str, Node]]]:
    """A module's own tensors, and its submodules, by name."""
    named = module.state.named
    if module.module.startswith("__torch__"):
        return list(named.items()), list(named.items())
    own = list(named["_parameters"].named.items())
    buffers = named.get("_buffers")
    if type(buffers) is Mapping:
        passing = named.get("_non_persistent_buffers_set")
        left_out = {n for n in passing.items if type(n) is str} if type(passing) is Bag else set()
        own += [(name, value) for name, value in buffers.named.items() if name not in left_out]
    return own, list(named["_modules"].named.items())


def class_path(module: Constructed) -> str:
    """The dotted name of a record's class: "torchvision.models.resnet.ResNet"."""
    func = module.func
    return f"{func.module}.{func.name}" if type(func) is Global else "?"


def parts(
    module: Constructed, spend: Callable[[int], None], path: str = "", depth: int = 0
) -> Iterator[ModuleSpec]:
    """The module and each one within it, as `named_modules` walks them.

    `spend` is told what each costs, and raises OverLimit when it is too much.
    """
    if depth > MAX_DEPTH:
        raise OverLimit(f"modules nested more than {MAX_DEPTH} deep")
    attributes = _scalars(module.state)
    spend(1 + len(attributes))
    yield ModuleSpec(path, class_path(module), attributes)
    for name, child in members(module)[1]:
        if is_module(child):
            yield from parts(child, spend, f"{path}.{name}" if path else name, depth + 1)


def _scalars(state: Mapping) -> dict[str, Json]:
    """The numbers and short texts among a module's own attributes, and tuples of numbers."""
    found: dict[str, Json] = {}
    for name, value in state.named.items():
        if len(found) >= MAX_SCALARS:
            break
        if name.startswith("_") or name == "training":
            continue
        if type(value) in (bool, int, float) or (type(value) is str and len(value) <= MAX_WORD):
            found[name] = value
        elif type(value) is tuple and len(value) <= 4 and all(type(v) is int for v in value):
            found[name] = list(value)
    return found


def module_at(tree: Node, place: str) -> Constructed | None:
    """The pickled module at a place of the file, as `state_dicts` names places."""
    todo = [(tree, place, 0)]
    for _ in range(MAX_STEPS):
        if not todo:
            break
        node, rest, depth = todo.pop()
        if depth > MAX_DEPTH:
            continue
        if is_module(node):
            if not rest:
                return node  # type: ignore[no-any-return]
            continue
        todo += [(below, left, depth + 1) for below, left in _below(node, rest)]
    return None


def _below(node: Node, rest: str) -> Iterator[tuple[Node, str]]:
    """What lies one step towards a place, and what is left of the way."""
    if type(node) is Constructed:
        yield from ((part, rest) for part in (node.content, node.state) if part is not None)
    elif type(node) is Mapping and rest:
        for name, value in node.named.items():
            if rest == name or rest.startswith(f"{name}."):
                yield value, rest[len(name) + 1 :]
    elif type(node) in (list, tuple):
        step, _, left = rest.partition(".")
        if step.isdecimal() and len(step) < 8 and int(step) < len(node):
            yield node[int(step)], left
