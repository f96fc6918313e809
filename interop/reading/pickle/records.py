"""The records that an interpreted pickle turns into: inert, whatever the file wanted to make.

Strings, numbers, bytes, tuples and lists stand for themselves; everything else is one of these.
None of them has an `__eq__` or `__hash__` of its own, so a hostile tree costs nothing to hold.
"""

from __future__ import annotations

from typing import Any, Protocol

from interop.facts import Layout
from interop.reading.bytes.source import Bytes
from interop.records import dataclass, field

MOST = 1 << 64  # of an integer that is shown
Node = Any  # None, bool, int, float, complex, str, bytes, tuple, list or a record of this module


@dataclass(slots=True, eq=False, repr=False)
class Global:
    """A Python name that the pickle refers to.

    `maker` is what is known to rebuild what a call of it gives, None where nothing is, False as
    long as nobody has asked; `called` tells that the ledger has been told of a call.
    """

    module: str
    name: str
    maker: Any = field(default=False, init=False)
    called: bool = field(default=False, init=False)


class Mapping:
    """A dict of any kind. Only string keys are looked up; the others are kept as pairs, unhashed,
    because a file can choose keys that take for ever to hash. `attributes` are those of the object
    itself, such as the `_metadata` of torch's state dicts."""

    __slots__ = ("attributes", "named", "others")

    def __init__(self) -> None:
        self.attributes: dict[str, Node] | None = None
        self.named: dict[str, Node] = {}
        self.others: list[tuple[Node, Node]] = []

    def put(self, key: Node, value: Node) -> None:
        if type(key) is str:
            self.named[key] = value
        else:
            self.others.append((key, value))


def key_text(key: Node) -> str | None:
    """A key that is a number as text, as JSON has it; None for any other, and for one of a size
    that takes long to write."""
    if type(key) is int:
        return str(key) if -MOST <= key <= MOST else None
    return str(key) if type(key) in (float, bool) else None


@dataclass(slots=True, eq=False, repr=False)
class Bag:
    """A set or frozenset, unhashed."""

    items: list[Node]


@dataclass(slots=True, eq=False, repr=False)
class Blob:
    """Bytes too many to be worth copying: where they lie in the pickle."""

    _data: Bytes
    start: int
    size: int

    def bytes(self) -> bytes:
        """A copy after all, as long as the file is open."""
        return self._data[self.start : self.start + self.size]


@dataclass(slots=True, eq=False, repr=False)
class Text:
    """An object of which only its text matters: a path, a device, a date.

    `kind` says what it is if that matters too: "device".
    """

    text: str
    kind: str = ""


@dataclass(slots=True, eq=False, repr=False)
class StorageRef:
    """A persistent id: the storage `key` of `nbytes` bytes, read as `dtype`.

    `shift` is where a view into it begins, in elements of `dtype`.
    """

    key: str
    dtype: str
    nbytes: int
    location: str
    shift: int = 0


@dataclass(slots=True, eq=False, repr=False)
class Tensor:
    """A tensor without its name; no storage where the file holds its bytes in no plain form.

    `layout`, `quantizer` and `parts` (by name) are those of facts.TensorSpec.
    """

    dtype: str
    shape: tuple[int, ...]
    storage: StorageRef | None = None
    offset: int = 0
    stride: tuple[int, ...] | None = None
    conj: bool = False
    neg: bool = False
    layout: Layout = Layout.STRIDED
    parts: tuple[tuple[str, Tensor], ...] = ()
    quantizer: str = field(default="", init=False)
    attributes: dict[str, Node] | None = field(default=None, init=False)  # set on it besides


def width_of(code: str) -> int:
    """Bytes of one element of a numpy dtype ("<f4"); 0 for objects, and where no size is stated."""
    kind, digits = code[1:2], code[2:]
    if kind in ("", "O") or not digits.isdecimal() or len(digits) > 9:
        return 0
    return int(digits) * (4 if kind == "U" else 1)


@dataclass(slots=True, eq=False, repr=False)
class Array:
    """A numpy array, dtype or scalar under way: filled in by its BUILD."""

    code: str = ""  # as numpy writes it: byte order, kind and width, "<f4"
    shape: tuple[int, ...] | None = None  # None for a dtype
    fortran: bool = field(default=False, init=False)
    data: Node = field(default=None, init=False)
    fields: Node = field(default=None, init=False)  # of a dtype of records

    @property
    def width(self) -> int:
        """Bytes of one element."""
        return width_of(self.code)


@dataclass(slots=True, eq=False, repr=False)
class Constructed:
    """An object of a class or function that is not interpreted: what was called, with what."""

    func: Node
    args: Node
    state: Node = field(default=None, init=False)
    content: Mapping | None = field(default=None, init=False)  # what SETITEMS put in
    items: list[Node] | None = field(default=None, init=False)  # what APPENDS put in

    @property
    def module(self) -> str:
        return self.func.module if type(self.func) is Global else ""

    @property
    def name(self) -> str:
        return self.func.name if type(self.func) is Global else ""


# ---------------------------------------------------------------- what interprets a pickle


class Broken(Exception):
    """The bytes are no pickle, or a damaged one."""


class Cut(Broken):
    """The pickle ends before its STOP."""


class OverLimit(Broken):
    """The pickle asks for more than its reader allows."""


class PickleMachine(Protocol):
    """What rebuilds a call asks of the interpreter that came by it."""

    def copied(self, count: int) -> None: ...
    def set_attributes(self, target: Node, state: Node) -> None: ...
    def exposed(self, node: Node) -> None: ...
    def altered(self, target: Node) -> None: ...
    def used(self, func: Node, called: bool) -> None: ...
    def call(self, func: Node, args: Node) -> Node: ...
    def make(self, cls: Node, args: Node) -> Node: ...
    def make_ex(self, cls: Node, args: Node, options: Node) -> Node: ...
