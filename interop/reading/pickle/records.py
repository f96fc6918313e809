"""The records that an interpreted pickle turns into: inert, whatever the file wanted to make.

Strings, numbers, bytes, tuples and lists stand for themselves; everything else is one of these.
None of them has an `__eq__` or `__hash__` of its own, so a hostile tree costs nothing to hold.
"""

from __future__ import annotations

from typing import Any, Protocol

from interop.facts import Layout
from interop.reading.bytes.source import Bytes

Node = Any  # None, bool, int, float, complex, str, bytes, tuple, list or a record of this module


class Global:
    """A Python name that the pickle refers to.

    `maker` is what is known to rebuild what a call of it gives, None where nothing is, False as
    long as nobody has asked; `called` tells that the ledger has been told of a call.
    """

    __slots__ = ("called", "maker", "module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name
        self.maker: Any = False
        self.called = False


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


class Bag:
    """A set or frozenset, unhashed."""

    __slots__ = ("items",)

    def __init__(self, items: list[Node]) -> None:
        self.items = items


class Blob:
    """Bytes too many to be worth copying: where they lie in the pickle."""

    __slots__ = ("_data", "size", "start")

    def __init__(self, data: Bytes, start: int, size: int) -> None:
        self._data = data
        self.start = start
        self.size = size

    def bytes(self) -> bytes:
        """A copy after all, as long as the file is open."""
        return self._data[self.start : self.start + self.size]


class Text:
    """An object of which only its text matters: a path, a device, a date."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class StorageRef:
    """A persistent id: the storage `key` of `nbytes` bytes, read as `dtype`.

    `shift` is where a view into it begins, in elements of `dtype`.
    """

    __slots__ = ("dtype", "key", "location", "nbytes", "shift")

    def __init__(self, key: str, dtype: str, nbytes: int, location: str, shift: int = 0) -> None:
        self.key = key
        self.dtype = dtype
        self.nbytes = nbytes
        self.location = location
        self.shift = shift


class Tensor:
    """A tensor without its name; no storage where the file holds its bytes in no plain form.

    `layout`, `quantizer` and `parts` (by name) are those of facts.TensorSpec.
    """

    __slots__ = (
        "conj", "dtype", "layout", "neg", "offset", "parts", "quantizer", "shape", "storage",
        "stride",
    )  # fmt: skip

    def __init__(
        self,
        dtype: str,
        shape: tuple[int, ...],
        storage: StorageRef | None = None,
        offset: int = 0,
        stride: tuple[int, ...] | None = None,
        conj: bool = False,
        neg: bool = False,
        layout: Layout = Layout.STRIDED,
        parts: tuple[tuple[str, Tensor], ...] = (),
    ) -> None:
        self.layout = layout
        self.quantizer = ""
        self.parts = parts
        self.dtype = dtype
        self.shape = shape
        self.storage = storage
        self.offset = offset
        self.stride = stride
        self.conj = conj
        self.neg = neg


class Array:
    """A numpy array, dtype or scalar under way: filled in by its BUILD."""

    __slots__ = ("code", "data", "fortran", "shape")

    def __init__(self, code: str = "", shape: tuple[int, ...] | None = None) -> None:
        self.code = code  # as numpy writes it: byte order, kind and width, "<f4"
        self.shape = shape  # None for a dtype
        self.fortran = False
        self.data: Node = None


class Constructed:
    """An object of a class or function that is not interpreted: what was called, with what."""

    __slots__ = ("args", "content", "func", "items", "state")

    def __init__(self, func: Node, args: Node) -> None:
        self.func = func
        self.args = args
        self.state: Node = None
        self.content: Mapping | None = None  # what SETITEMS put in
        self.items: list[Node] | None = None  # what APPENDS put in

    @property
    def module(self) -> str:
        return self.func.module if type(self.func) is Global else ""


# ---------------------------------------------------------------- what interprets a pickle


class Broken(Exception):
    """The bytes are no pickle, or a damaged one."""


class Cut(Broken):
    """The pickle ends before its STOP."""


class OverLimit(Broken):
    """The pickle asks for more than its reader allows."""


class PickleMachine(Protocol):
    """What rebuilds a call asks of the interpreter that came by it."""

    containers: int

    def container(self, weight: int = 1) -> None: ...
    def altered(self, target: Node) -> None: ...
    def used(self, func: Node, called: bool) -> None: ...
    def call(self, func: Node, args: Node) -> Node: ...
    def make(self, cls: Node, args: Node) -> Node: ...
    def make_ex(self, cls: Node, args: Node, options: Node) -> Node: ...
