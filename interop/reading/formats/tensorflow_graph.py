"""The nodes of a TensorFlow graph -> the operators in it, and the files that running it reaches.

A graph is a list of nodes, and a library of functions that nodes call. Whether an operator reads a
file of the model's choosing depends on where the name comes from: from whoever loads the model, or
from a constant of the graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from interop.facts import Danger, Import, Opened
from interop.reading.bytes.budget import Budget
from interop.reading.bytes.protobuf import BYTES, VARINT, Field, Malformed, fields, text
from interop.reading.bytes.source import Bytes
from interop.reading.formats import tensorflow_operators as known

# Nanoseconds and bytes of a node, and nanoseconds of a step back to where a name comes from.
_NODE, _NODE_MEMORY, _STEP = 9_000, 1_200, 1_500
_MAX_ATTRIBUTE = 1 << 12  # bytes of an attribute that is looked into
_CALLS = ("PartitionedCall", "StatefulPartitionedCall", "While", "StatelessWhile")
_BRANCHES = ("If", "StatelessIf", "Case", "StatelessCase")  # their first input chooses one
_VARIABLES = ("VarHandleOp", "Variable", "VariableV2")
_ASSIGNING = ("AssignVariableOp", "Assign")


class _Node(NamedTuple):
    operator: str
    inputs: list[str]
    texts: dict[str, str]  # attributes that are a text
    value: str  # of a constant that is one text
    calls: list[str]  # functions it names


class _Scope(NamedTuple):
    """The graph itself, whose name is "", or one function."""

    name: str
    arguments: list[str]
    nodes: dict[str, _Node]


class Nodes:
    """The nodes of a SavedModel's graphs, one after the other.

    `given` are the constants that whoever loads the model replaces: names of the saver's file and
    of assets. `bound` holds, by function, the nodes that its last arguments are bound to, None for
    what has none.
    """

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.operators: dict[str, int] = {}
        self.producer = 0
        self.imports: dict[Import, None] = {}
        self.opened: dict[Opened, None] = {}
        self.begin()

    def begin(self) -> None:
        """Begin another graph; names are of one graph alone."""
        self.given: set[str] = set()
        self.bound: dict[str, list[str | None]] = {}
        self._scopes: dict[str, _Scope] = {"": _Scope("", [], {})}
        self._all: list[tuple[_Scope, _Node]] = []  # of one name too, which TensorFlow refuses
        self._callers: dict[str, list[tuple[str, str]]] = {}
        self._assigned: dict[str, list[str]] = {}  # to the graph's variables

    # ------------------------------------------------------------ reading

    def graph_def(self, data: Bytes, at: int, end: int) -> None:
        """Read a GraphDef: nodes, a library, versions."""
        for number, wire, a, b in fields(data, at, end, self.budget):
            if number == 1 and wire == BYTES:
                self._node(data, a, b, self._scopes[""])
            elif number == 2 and wire == BYTES:
                for inner, kind, c, d in fields(data, a, b, self.budget):
                    if inner == 1 and kind == BYTES:
                        self._function(data, c, d)
            elif number == 4 and wire == BYTES:
                for inner, kind, c, _ in fields(data, a, b, self.budget):
                    if inner == 1 and kind == VARINT:
                        self.producer = c

    def _function(self, data: Bytes, at: int, end: int) -> None:
        name, arguments, bodies = "", [], []
        for number, wire, a, b in fields(data, at, end, self.budget):
            if number == 1 and wire == BYTES:
                for field in fields(data, a, b, self.budget):
                    if field[0] == 1:
                        name = text(data, field)
                    elif field[0] == 2 and field[1] == BYTES:
                        names = [
                            text(data, f)
                            for f in fields(data, field[2], field[3], self.budget)
                            if f[0] == 1
                        ]
                        arguments += names[:1]
            elif number == 3 and wire == BYTES:
                bodies.append((a, b))
        scope = self._scopes.setdefault(name, _Scope(name, arguments, {}))
        for a, b in bodies:
            self._node(data, a, b, scope)

    def _node(self, data: Bytes, at: int, end: int, scope: _Scope) -> None:
        self.budget.spend(_NODE, _NODE_MEMORY + end - at)
        name, node = "", _Node("", [], {}, "", [])
        for field in fields(data, at, end, self.budget):
            if field[0] == 1:
                name = text(data, field)
            elif field[0] == 2:
                node = node._replace(operator=text(data, field))
            elif field[0] == 3:
                node.inputs.append(text(data, field))
            elif field[0] == 5 and field[1] == BYTES:
                node = _with_attribute(data, field, node, self.budget)
        if node.operator:
            self.operators[node.operator] = self.operators.get(node.operator, 0) + 1
            scope.nodes[name] = node
            self._all.append((scope, node))
            if node.operator in _ASSIGNING and not scope.name and len(node.inputs) > 1:
                variable = node.inputs[0].partition(":")[0]
                self._assigned.setdefault(variable, []).append(node.inputs[1])
            for called in {*node.calls, node.operator}:
                self._callers.setdefault(called, []).append((scope.name, name))

    # ------------------------------------------------------------ judging

    def judge(self) -> None:
        """Note in `imports` the operators that do more than compute, in `opened` the files that
        others read; take the library's functions, which are no operators, out of `operators`."""
        for name in self._scopes:
            if name not in known.REACHING:
                self.operators.pop(name, None)
        for scope, node in self._all:
            if (danger := self._danger(scope, node)) is not None:
                self.imports[Import("tensorflow.raw_ops", node.operator, danger)] = None
            self.opened.update(dict.fromkeys(self._opened(scope, node)))

    def _danger(self, scope: _Scope, node: _Node) -> Danger | None:
        """What running a node does that is no computing."""
        operator = node.operator
        if operator in known.COMPUTING:
            to_file = node.texts.get("output_stream", "").startswith("file://")
            return Danger.UNSAFE if to_file and operator == "PrintV2" else None
        if operator in known.REACHING:
            return Danger.UNSAFE
        if operator in known.SAVING:
            return Danger.UNSAFE if self._stated(scope, node.inputs[:1]) else None
        if operator in known.TABLE_SAVING:
            return None if not known.SAVING.isdisjoint(self.operators) else Danger.CODE
        if operator in known.FILE_INPUTS or operator in known.FILE_ATTRIBUTES:
            return None  # `_opened` tells
        return Danger.CODE if operator in self.operators else None

    def _opened(self, scope: _Scope, node: _Node) -> Iterator[Opened]:
        by = f"operator {node.operator} of the graph"
        if (places := known.FILE_INPUTS.get(node.operator)) is not None:
            # Of fewer inputs than it needs, any may be the name.
            names = [node.inputs[n] for n in places if n < len(node.inputs)] or node.inputs
            for path in self._stated(scope, names) if names else [""]:
                yield Opened(path, by)
        elif (attribute := known.FILE_ATTRIBUTES.get(node.operator)) is not None:
            path = node.texts.get(attribute[0], "")
            if path and not path.startswith(attribute[1]):
                yield Opened(path, by)

    def _stated(self, scope: _Scope, inputs: Iterable[str]) -> list[str]:
        """The file names that the graph itself states for these inputs, "" for one that it computes
        of nothing given; empty if whoever loads or runs the model gives them."""
        names: list[str] = []
        given = False
        todo, seen = [(scope.name, one) for one in inputs], set()
        while todo:
            place, reference = todo.pop()
            name = reference.partition(":")[0]
            if (place, name) in seen or reference.startswith("^"):
                continue
            self._step(1)
            seen.add((place, name))
            own = self._scopes[place]
            if name in own.arguments:
                before, outside = self._before(own, own.arguments.index(name))
                todo += before
                given |= outside
                continue
            node = own.nodes.get(name)
            replaced = not place and name in self.given
            if node is None or replaced or node.operator.startswith("Placeholder"):
                given = True
            elif node.operator == "Const":
                names.append(node.value)
            elif node.operator in _VARIABLES:
                todo += [(place, value) for value in self._assigned.get(name, ())]
            else:
                todo += [(place, one) for one in node.inputs]
        # What is joined to a given name is a part of it, unless it is a place of its own.
        return [n for n in names if n[:1] == "/" or "://" in n] if given else names or [""]

    def _step(self, count: int) -> None:
        self.budget.spend(count * _STEP)

    def _before(self, function: _Scope, at: int) -> tuple[list[tuple[str, str]], bool]:
        """What an argument of a function is given: inputs of its callers, and whether the callers
        are outside of the graph."""
        bound = self.bound.get(function.name, [])
        inputs = []
        place = at - len(function.arguments)  # from the end, as the bound ones are counted
        if -place <= len(bound) and (constant := bound[place]) is not None:
            inputs.append(("", constant))
        callers = self._callers.get(function.name, [])
        for scope, name in callers:
            node = self._scopes[scope].nodes[name]
            self._step(len(node.inputs))
            given = [one for one in node.inputs if not one.startswith("^")]
            if node.operator in _BRANCHES:
                given = given[1:]
            elif node.operator not in (*_CALLS, function.name):
                inputs += [(scope, one) for one in given]
                continue
            inputs += [(scope, one) for one in given[at : at + 1]]
        return inputs, not inputs


def _with_attribute(data: Bytes, entry: Field, node: _Node, budget: Budget) -> _Node:
    """A node with what is of interest in one of its attributes: texts, functions, a constant."""
    key = ""
    for field in fields(data, entry[2], entry[3], budget):
        if field[0] == 1:
            key = text(data, field)
        elif field[0] == 2 and field[1] == BYTES:
            for inner in fields(data, field[2], field[3], budget):
                number, wire, a, b = inner
                if wire != BYTES:
                    continue
                if number == 2 and b - a < _MAX_ATTRIBUTE:
                    node.texts[key] = text(data, inner)
                elif number == 8 and key == "value" and b - a < _MAX_ATTRIBUTE:
                    value = [text(data, f) for f in fields(data, a, b, budget) if f[0] == 8]
                    node = node._replace(value=", ".join(value[:3]))
                elif number == 10:
                    node.calls.extend(_called(data, a, b, budget))
                elif number == 1:
                    for one in fields(data, a, b, budget):
                        if one[0] == 9 and one[1] == BYTES:
                            node.calls.extend(_called(data, one[2], one[3], budget))
    return node


def _called(data: Bytes, at: int, end: int, budget: Budget) -> list[str]:
    """The function that a NameAttrList names."""
    try:
        return [text(data, field) for field in fields(data, at, end, budget) if field[0] == 1]
    except Malformed:
        return []
