"""An ONNX model's nodes and names -> what makes it unsound: no runtime loads such a graph.

Of what onnx.checker asks for, this is what concerns names and operators: each value is defined
once, and before it is used; each domain is imported; each operator of ONNX's own domains exists at
the imported version and takes as many values as the node gives it. Types, shapes and attributes are
not looked at. Which operators there are is in onnx_operators.txt.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from pathlib import Path

from interop.records import dataclass, field

TABLE = Path(__file__).with_name("onnx_operators.txt")
_MOST = 100  # faults that are looked for
_DEFAULT = "ai.onnx"  # how the table calls the domain ""

# Of no version, but every checker lets them pass.
_EXPERIMENTAL_WORDS = """
ATen Affine ConstantFill Crop DynamicSlice GRUUnit GivenTensorFill ImageScaler ParametricSoftplus
Scale ScaledTanh
"""
_EXPERIMENTAL = frozenset(_EXPERIMENTAL_WORDS.split())


@dataclass(slots=True)
class Node:
    """An operator of a domain ("" is ONNX's own), and the graphs within its attributes."""

    domain: str
    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    graphs: list[Scope]

    def __str__(self) -> str:
        name = self.name or next(filter(None, self.outputs), "")
        return f"node {name!r} ({self.kind})"


@dataclass(slots=True)
class Scope:
    """The names of one graph, of one within a node, or of a function's body."""

    inputs: list[str] = field(default_factory=list)
    initializers: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Function:
    """An operator that the model itself defines, with the opsets that its body imports."""

    domain: str
    name: str
    body: Scope
    opsets: Mapping[str, int]


def faults(
    graph: Scope, functions: Sequence[Function], opsets: Mapping[str, int], version: int
) -> tuple[str, ...]:
    """Return a sentence for each fault, at most 100. `version` is the model's IR version: up to 2
    a model imports nothing and means opset 1."""
    if not opsets and version >= 3:
        return ("the model has no opset import, so its operators have no meaning",)
    own = {(f.domain, f.name) for f in functions}
    inner = (
        f"function {function.name!r}: {fault}"
        for function in functions
        for fault in _of_graph(function.body, function.opsets, own, ())
    )
    found: dict[str, None] = {}  # each once: an unknown domain is one fault of all its nodes
    for fault in chain(_of_graph(graph, opsets or {"": 1}, own, ()), inner):
        found[fault] = None
        if len(found) == _MOST:
            break
    return tuple(found)


def _of_graph(
    graph: Scope,
    opsets: Mapping[str, int],
    own: Collection[tuple[str, str]],
    outer: tuple[set[str], ...],
) -> Iterator[str]:
    """`outer` are the names that the graphs around this one have defined so far."""
    # An initializer may have an input's name: it is the input's default.
    yield from (f"input {name!r} is defined twice" for name in _twice(graph.inputs))
    yield from (f"initializer {name!r} is defined twice" for name in _twice(graph.initializers))
    defined = {*graph.inputs, *graph.initializers}
    scopes = (*outer, defined)
    later: set[str] | None = None
    for node in graph.nodes:
        for name in node.inputs:
            if name and not any(name in scope for scope in scopes):
                if later is None:
                    later = {out for each in graph.nodes for out in each.outputs}
                early = name in later
                yield f"{node} uses {name!r}, which " + (
                    "is computed only later: the nodes are out of order or form a cycle"
                    if early else "nothing before it defines"
                )  # fmt: skip
        if fault := _of_operator(node, opsets, own):
            yield fault
        for inner in node.graphs:
            yield from _of_graph(inner, opsets, own, scopes)
        for name in node.outputs:
            if name and any(name in scope for scope in scopes):
                yield f"{node} defines {name!r}, which is defined already"
            defined.add(name)
    for name in graph.outputs:
        if name not in defined:
            yield f"output {name!r} is not computed by its graph"


def _twice(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


# ---------------------------------------------------------------- operators


def _of_operator(node: Node, opsets: Mapping[str, int], own: Collection[tuple[str, str]]) -> str:
    """What is wrong with a node's operator, or with how many values it takes and gives; "" where
    nothing is known to be."""
    domain = node.domain or _DEFAULT
    if (opset := opsets.get(node.domain)) is None:
        return f"operators of {domain!r} are used, and the model has no opset import for it"
    if (node.domain, node.kind) in own:
        return ""
    known, operators = _operators().get(domain, (0, {}))
    if opset > known or (domain == _DEFAULT and node.kind in _EXPERIMENTAL):
        return ""  # a domain or a version that the table does not know
    versions = [v for v in operators.get(node.kind, ()) if v.since <= opset]
    if not versions:
        later = operators.get(node.kind)
        more = f"; it came with {later[0].since}" if later else ""
        return f"{node}: {domain} {opset} has no operator {node.kind}{more}"
    last = versions[-1]
    if last.deprecated:
        return f"{node}: {node.kind} was removed in {domain} {last.since}, and {opset} is imported"
    return (
        _of_values(node, "input", node.inputs, last.inputs)
        or _of_values(node, "output", node.outputs, last.outputs)
    )  # fmt: skip


def _of_values(node: Node, word: str, names: Sequence[str], sorts: str) -> str:
    """Whether so many are taken or given. `sorts` has a letter for each: single, optional, or
    variadic behind the least number of them."""
    fixed = sorts.rstrip("v0123456789")
    if fixed != sorts:
        least, most = len(fixed) + int(sorts[len(fixed) : -1]), len(names)
        some = f"{least} or more"
    else:
        least, most = fixed.rfind("s") + 1, len(fixed)
        some = f"{least}" if least == most else f"{least} to {most}"
    if not least <= len(names) <= max(least, most):
        return f"{node} has {len(names)} {word}s, and {node.kind} has {some}"
    for n, (name, sort) in enumerate(zip(names, fixed, strict=False)):
        if not name and sort == "s":
            return f"{node} leaves {word} {n + 1} out, which {node.kind} needs"
    return ""


@dataclass(frozen=True, slots=True)
class _Version:
    """An operator from one opset on: what it takes and gives."""

    since: int
    inputs: str
    outputs: str

    @property
    def deprecated(self) -> bool:
        return self.inputs == "-"


@cache
def _operators() -> Mapping[str, tuple[int, Mapping[str, Sequence[_Version]]]]:
    """By domain the newest opset that is known, and each operator's versions, the oldest first."""
    domains: dict[str, tuple[int, dict[str, list[_Version]]]] = {}
    operators: dict[str, list[_Version]] = {}
    for line in TABLE.read_text("utf-8").splitlines():
        if found := re.fullmatch(r"\[(\S+) (\d+)\]", line):
            operators = {}
            domains[found[1]] = int(found[2]), operators
        elif line and not line.startswith("#"):
            name, *words = line.split()
            operators[name] = [
                _Version(int(since), *signature.split(">"))
                for since, signature in zip(words[::2], words[1::2], strict=True)
            ]
    return domains
