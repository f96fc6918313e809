"""Pickle opcodes -> a tree of inert records (tree.py). Nothing of the file is imported or called.

An interpreter of protocols 0 to 5, not a subclass of pickle.Unpickler: there, BUILD reaches the
attributes of whatever stands in for a class, and a key is hashed before anyone can look at it.
All that is done is paid for from the file's budget; nested marks, the memo, the hashing of a key
and the length of a line or string have limits of their own besides.

docs/pickle-opcodes.md says of each opcode what Python's own unpicklers call for it, and what is
done here.
"""

from __future__ import annotations

import codecs
import struct
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable
from contextlib import suppress
from math import prod

from interop.reading.bytes.budget import Budget
from interop.reading.bytes.source import Bytes
from interop.reading.pickle.imports import Ledger, is_harmless, is_shared, modern, plain
from interop.reading.pickle.rebuild import array_of, build, is_own, rebuild
from interop.reading.pickle.records import (
    Array,
    Bag,
    Blob,
    Broken,
    Constructed,
    Cut,
    Global,
    Mapping,
    Node,
    OverLimit,
    StorageRef,
    Tensor,
)

MAX_MARKS = 10_000
_FREE = object()  # a place of the memo that was never taken
MAX_MEMO = 1_500_000
MAX_KEY = 10_000  # values in a key, each counted as often as hashing comes by it
MAX_LINE = 1 << 16
MAX_STRING = 1 << 24
MAX_INT_BYTES = 1 << 13
MAX_DIGITS = 1 << 11
_BLOB = 1 << 6  # bytes longer than this stay in the file
# What any opcode costs, in nanoseconds and bytes (beside its own ones); so many are paid at once.
_STEP_WORK, _STEP_MEMORY, _STEPS_PAID = 110, 48, 1 << 10
# What comes on top: bytes of a place in the memo, a mark, a dict, a name; nanoseconds of a name
# and of a call.
_PLACE, _SEQUENCE, _MAPPING, _NAME = 9, 40, 280, 450
_NAME_WORK, _CALL_WORK, _ARGUMENT_WORK = 4_200, 2_300, 100
_BYTE_WORK = 8  # nanoseconds of a byte of the pickle itself
_ITEM, _ITEM_WORK = 8, 20  # of a container that is copied, or looked through


class Machine:
    """Runs one pickle of `data` that begins at `position`; afterwards `position` is behind it.

    `persistent` turns a persistent id into a record. `ledger` learns what would be imported, and
    `budget` pays. `inline` is False where arrays of joblib's are none, as for Python's unpickler.
    """

    __slots__ = (
        "budget", "complaint", "data", "earned", "end", "inline", "kept", "ledger", "marks",
        "memo", "persistent", "plainly", "position", "protocol", "stack", "start", "stored",
    )  # fmt: skip

    def __init__(
        self,
        data: Bytes,
        ledger: Ledger,
        persistent: Callable[[Node], Node],
        budget: Budget | None = None,
        position: int = 0,
        end: int | None = None,
        inline: bool | None = None,
    ) -> None:
        self.data = data
        self.ledger = ledger
        self.persistent = persistent
        self.position = self.start = position
        self.inline = inline
        self.earned = -1  # where the last array's numbers began that paid for itself
        self.plainly: Ledger | None = None
        # Turns bytes that torch.save wrote of a storage into its record; None if they are not.
        self.stored: Callable[[Node], Node] | None = None
        self.end = len(data) if end is None else end
        self.budget = budget or Budget("", len(data))
        self.complaint: Broken | None = None
        self.protocol = 0
        self.stack: list[Node] = []
        self.marks: list[list[Node]] = []
        self.memo: list[Node] = []
        self.kept = 0  # places of it that are taken

    def run(self) -> Node:
        """The tree that the pickle describes; raises Broken, Cut or OverLimit, and ReadError where
        the budget is spent."""
        data, end, steps, budget = self.data, self.end, _STEPS, self.budget
        memo, number = self.memo, int.from_bytes
        done = 0
        start, places = self.position, 0
        try:
            while True:
                at, stack = self.position, self.stack
                for done in range(_STEPS_PAID):  # noqa: B007 - it is paid for, however it ends
                    if at >= end:
                        raise Cut("it ends in the middle")
                    code = data[at]
                    # The most frequent opcodes do without a call where nothing is wrong.
                    if code == 0x72:  # LONG_BINPUT
                        stop = at + 5
                        if stop <= end and stack:
                            index = number(data[at + 1 : stop], "little")
                            if index == len(memo) < MAX_MEMO:
                                memo.append(stack[-1])
                                self.kept += 1
                                at = stop
                                continue
                    elif code == 0x4B:  # BININT1
                        if at + 1 < end:
                            stack.append(data[at + 1])
                            at += 2
                            continue
                    elif code == 0x68:  # BINGET
                        known = at + 1 < end and data[at + 1] < len(memo)
                        if known and (node := memo[data[at + 1]]) is not _FREE:
                            stack.append(node)
                            at += 2
                            continue
                    elif code == 0x2E:  # STOP
                        self.position = at + 1
                        if self.complaint is not None:
                            raise self.complaint
                        return stack.pop()
                    self.position = at + 1
                    step = steps[code]
                    if step is None:
                        raise Broken(f"byte {at} is no pickle opcode")
                    step(self)
                    at, stack = self.position, self.stack
                self.position = at
                budget.spend(
                    _STEPS_PAID * _STEP_WORK + (self.position - start) * _BYTE_WORK,
                    _STEPS_PAID * _STEP_MEMORY
                    + (self.position - start)
                    + (len(self.memo) - places) * _PLACE,
                )
                done, start, places = 0, self.position, len(self.memo)
        except (IndexError, KeyError, ValueError, TypeError, struct.error) as error:
            # An empty stack, an unset memo, a number that is none: all mean a malformed pickle.
            raise Broken(f"it is malformed near byte {self.position}") from error
        except RecursionError:
            raise OverLimit("calls nested too deeply") from None
        finally:
            budget.work -= done * _STEP_WORK
            budget.memory -= done * _STEP_MEMORY
            if self.plainly is not None:
                self.ledger.add_unless_by_chance(self.plainly)

    # ------------------------------------------------------------ bytes

    def take(self, count: int) -> bytes:
        start = self.position
        if count > self.end - start:
            raise Cut("it ends in the middle")
        self.position = start + count
        return self.data[start : start + count]

    def number(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def line(self) -> bytes:
        start = self.position
        stop = self.data.find(b"\n", start, min(self.end, start + MAX_LINE))
        if stop < 0:
            if self.end - start > MAX_LINE:
                raise OverLimit(f"a line of more than {MAX_LINE:,} bytes")
            raise Cut("it ends in the middle of a line")
        self.position = stop + 1
        return self.data[start:stop]

    def text(self, width: int) -> None:
        count = self.number(width)
        if count > MAX_STRING:
            self.refuse_length(count)
        raw = self.take(count)
        try:
            self.stack.append(str(raw, "utf-8"))
        except UnicodeDecodeError:
            self.stack.append(_printable(str(raw, "utf-8", "surrogatepass")))

    def old_text(self, count: int) -> None:
        """A Python 2 str: text in most files, so UTF-8 where it is that, else byte for byte."""
        if count > MAX_STRING:
            self.refuse_length(count)
        self.old_str(self.take(count))

    def old_str(self, raw: bytes) -> None:
        try:
            self.stack.append(raw.decode("utf-8"))
        except UnicodeDecodeError:
            self.stack.append(raw.decode("latin-1"))

    def blob(self, width: int) -> None:
        count = self.number(width)
        if count <= _BLOB:
            self.stack.append(self.take(count))
            return
        if count > self.end - self.position:
            self.refuse_length(count)
        self.stack.append(Blob(self.data, self.position, count))
        self.budget.memory += count  # it stays in the file, and is not looked at
        self.budget.work += count * _BYTE_WORK
        self.position += count

    def frame(self) -> None:
        """How far the next opcodes reach: unpicklers fetch so many bytes at once.

        Where there are fewer, Python's unpickler in C stops; the one in Python goes on.
        """
        count = self.number(8)
        if count > self.end - self.position and self.complaint is None:
            self.complaint = Cut(f"it announces {count:,} bytes and ends before them")

    def refuse_length(self, count: int) -> None:
        if count > self.end - self.position:
            raise Cut(f"it announces {count:,} bytes and ends before them")
        raise OverLimit(f"a string of {count:,} bytes")

    # ------------------------------------------------------------ stack

    def copied(self, count: int) -> None:
        """Pay for a container of `count` items that stand elsewhere too: a small file could ask
        for a long one many times."""
        self.budget.spend(count * _ITEM_WORK, _SEQUENCE + count * _ITEM)

    def mark(self) -> None:
        if len(self.marks) >= MAX_MARKS:
            raise OverLimit(f"more than {MAX_MARKS:,} nested marks")
        self.budget.memory -= _SEQUENCE
        self.marks.append(self.stack)
        self.stack = []

    def since_mark(self) -> list[Node]:
        items = self.stack
        self.stack = self.marks.pop()
        return items

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.since_mark()

    def push_tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise IndexError
        items = tuple(self.stack[-count:])
        self.stack[-count:] = [items]

    # ------------------------------------------------------------ containers

    def new_sequence(self, items: list[Node] | tuple[Node, ...]) -> None:
        if type(items) is list:
            self.budget.memory -= _SEQUENCE
        self.stack.append(items)

    def new_bag(self, items: list[Node]) -> None:
        self.budget.memory -= 2 * _SEQUENCE
        _hashed(items, self.budget)
        self.stack.append(Bag(items))

    def new_mapping(self, items: list[Node]) -> None:
        self.budget.memory -= _MAPPING
        mapping = Mapping()
        self.stack.append(mapping)
        self.fill(mapping, items)

    def fill(self, target: Node, items: list[Node]) -> None:
        if len(items) % 2:
            raise IndexError
        if type(target) is Constructed:
            if target.content is None:
                target.content = Mapping()
            target = target.content
        if type(target) is list:
            for at in range(0, len(items), 2):
                target[items[at]] = items[at + 1]
        elif type(target) is Mapping:
            for at in range(0, len(items), 2):
                if type(items[at]) is tuple:
                    _hashed((items[at],), self.budget)
                target.put(items[at], items[at + 1])
        else:
            self.altered(target)

    def extend(self, items: list[Node]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is Bag:
            _hashed(items, self.budget)
            target.items.extend(items)
        elif type(target) is Constructed or type(target) is Mapping:
            self.looked_up(target, "extend", "append", "add", "update")
            if type(target) is Constructed:
                if target.items is None:
                    target.items = []
                target.items.extend(items)
        else:
            self.altered(target)

    def append(self) -> None:
        item = self.stack.pop()
        self.extend([item])

    def set_item(self) -> None:
        value = self.stack.pop()
        key = self.stack.pop()
        self.fill(self.stack[-1], [key, value])

    def set_items(self) -> None:
        items = self.since_mark()
        self.fill(self.stack[-1], items)

    def extend_marked(self) -> None:
        items = self.since_mark()
        self.extend(items)

    # ------------------------------------------------------------ names and calls

    def name(self, module: Node, name: Node) -> Global:
        if type(module) is not str or type(name) is not str:
            # A name that the file computes: no honest file does, and none can be judged by it.
            self.ledger.alter("(computed)", "(computed)")
            return Global("(computed)", "(computed)")
        if len(module) + len(name) > 1000:
            raise OverLimit("a name of more than 1,000 letters")
        self.budget.work -= _NAME_WORK
        self.budget.memory -= _NAME
        if self.protocol < 3:
            module, name = modern(module, name)
        self.ledger.refer(module, name)
        return Global(module, name)

    def altered(self, target: Node) -> None:
        """What is shown of it would not be what is loaded; no honest writer does so."""
        if type(target) is Global:
            self.ledger.alter(target.module, target.name)
        elif type(target) in _ALTERED:
            self.ledger.alter(*_ALTERED[type(target)])

    def used(self, func: Node, called: bool) -> None:
        """Tell the ledger that `func` is called, or that its class is made an object of."""
        if type(func) is Global:
            if called:
                self.ledger.call(func.module, func.name)
            else:
                self.ledger.refer(func.module, func.name)
        else:
            self.ledger.alter("(computed)", "(computed)")

    def passed(self, func: Node, args: Node) -> None:
        """Tell the ledger of what `func` may call in its turn: the names among its arguments."""
        if type(args) in (str, int, float) and _is_brought(func):
            return  # TorchScript writes the member of an enumeration so
        if type(args) is not tuple:
            # Pickles write a call's arguments down; what the file computes could be any name.
            self.ledger.alter("(computed)", "(computed)")
            return
        for at, arg in enumerate(args):
            if (kind := type(arg)) in _PLAIN:
                continue
            if kind is not Global:
                self.exposed(arg)
                continue
            if arg.called or is_harmless(arg.module, arg.name):
                continue
            if type(func) is Global and _SPARED.get(plain(func.module, func.name)) == at:
                continue
            arg.called = True
            self.ledger.call(arg.module, arg.name)

    def pay_call(self, args: Node = ()) -> None:
        self.budget.work -= _CALL_WORK + (_ARGUMENT_WORK * len(args) if type(args) is tuple else 0)
        self.budget.memory -= _SEQUENCE

    def call(self, func: Node, args: Node) -> Node:
        """What a call would give: a known record, or a Constructed that tells of it."""
        self.pay_call(args)
        if self.stored is not None and type(func) is Global and type(args) is tuple:
            named = (func.module, func.name) == _STORED and len(args) == 1
            if named and (storage := self.stored(args[0])) is not None:
                self.ledger.follow(*_STORED)
                return storage
        self.passed(func, args)
        if type(func) is not Global or not func.called:
            self.used(func, called=True)
        if type(func) is Global:
            func.called = True
            if type(args) is tuple:
                return rebuild(self, func, args)
        return Constructed(func, args)

    def make(self, cls: Node, args: Node) -> Node:
        """What `cls.__new__` would give, without a call of its `__init__`."""
        self.pay_call(args)
        self.passed(cls, args)
        # Its `__new__` runs: that of sympy's functions, for one, evaluates a text.
        self.used(cls, called=args != () and not _takes_values(cls))
        if type(cls) is Global and type(args) is tuple:
            return rebuild(self, cls, args)
        return Constructed(cls, args)

    def reduce(self) -> None:
        args = self.stack.pop()
        func = self.stack.pop()
        self.stack.append(self.call(func, args))

    def new_object(self) -> None:
        args = self.stack.pop()
        cls = self.stack.pop()
        self.stack.append(self.make(cls, args))

    def new_object_ex(self) -> None:
        options = self.stack.pop()
        args = self.stack.pop()
        cls = self.stack.pop()
        self.stack.append(self.make_ex(cls, args, options))

    def make_ex(self, cls: Node, args: Node, options: Node) -> Constructed:
        """What `cls.__new__` would give with arguments by name too."""
        constructed = Constructed(cls, args)
        self.pay_call(args)
        self.passed(cls, args)
        none = args == () and type(options) is Mapping and not options.named
        self.used(cls, called=not none and not _takes_values(cls))
        constructed.content = options if type(options) is Mapping and options.named else None
        return constructed

    def old_instance(self) -> None:
        module, name = self.old_name(), self.old_name()
        args = tuple(self.since_mark())
        self.stack.append(self.call(self.name(module, name), args))

    def old_object(self) -> None:
        items = self.since_mark()
        self.stack.append(self.call(items[0], tuple(items[1:])))

    def old_name(self) -> str:
        return self.line().decode("utf-8", "replace")

    def push_global(self) -> None:
        module, name = self.old_name(), self.old_name()
        self.stack.append(self.name(module, name))

    def push_stack_global(self) -> None:
        name = self.stack.pop()
        module = self.stack.pop()
        self.stack.append(self.name(module, name))

    def push_extension(self, width: int) -> None:
        # A number that only the loading program's own registry can turn into a name.
        self.stack.append(self.name("copyreg", f"extension_{self.number(width)}"))

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is Constructed:
            if target.state is not None:  # what was built would be built upon; no writer does so
                self.ledger.alter("(computed)", "(computed)")
            if type(target.func) is Global and is_shared(target.func.module, target.func.name):
                self.altered(target.func)  # whoever has the same member has the same object
            self.set_attributes(target, state)
            target.state = state
            if self.inline is not False and (target.module, target.name) == _INLINE:
                self.inline_array(target)
        elif type(target) is Array:
            if target.shape is None and not is_own(target, state):
                self.altered(target)  # of another size than by its name, to who reads numbers by it
            build(target, state)
            if type(target.data) is Blob and target.data.start > self.earned:
                self.earned = target.data.start
                self.budget.earn()
        elif type(target) is Mapping:
            self.set_attributes(target, state)
        elif type(target) is not Tensor or type(state) is not tuple or len(state) != 3:
            # Three are (requires_grad, _, hooks) of torch before 0.4; more are another storage.
            self.altered(target)

    def inline_array(self, wrapper: Constructed) -> None:
        """An array of joblib's: its numbers stand in the middle of the pickle, behind what tells
        of them."""
        if self.inline is None:
            # Python's own unpickler takes the numbers for opcodes: what it would run counts too.
            self.inline, self.plainly = True, Ledger()
            plainly = Machine(
                self.data, self.plainly, self.persistent, self.budget, self.start, self.end, False
            )
            with suppress(Broken, RecursionError):
                plainly.run()
        if type(wrapper.state) is Mapping:
            for key, value in wrapper.state.named.items():
                if key not in _INLINE_STATE:  # its `read` is called next
                    self.brought(value)
        array, aligned = array_of(wrapper.state)
        if array.code[1:2] == "O":  # of objects: a pickle of its own
            inner = Machine(
                self.data, self.ledger, self.persistent, self.budget, self.position, self.end, False
            )
            self.stack[-1] = inner.run()
            self.position = inner.position
        else:
            if aligned:
                self.take(self.number(1))
            count = prod(array.shape or ()) * array.width
            if count > self.end - self.position:
                raise Cut(f"an array of {count:,} bytes ends before them")
            array.data = Blob(self.data, self.position, count)
            self.position += count
            self.budget.memory += count  # as a Blob's
            self.budget.work += count * _BYTE_WORK
            self.stack[-1] = array

    def set_attributes(self, target: Node, state: Node) -> None:
        """What a state sets on an object: a dict of attributes, or one and another of slots.

        A method among them is called by whatever looks it up there, so it counts as called.
        """
        for one in state if type(state) is tuple and len(state) == 2 else (state,):
            if type(one) is Constructed and (one.module, one.name) in _DICTS:
                # A dict of what could not be followed may hold anything.
                self.ledger.alter("(computed)", "(computed)")
        for part in _mappings(state):
            self.copied(len(part.named))
            known = type(target) is Constructed and is_harmless(target.module, target.name)
            methods = _DICT_METHODS if known or type(target) is Mapping else ()
            methods = _MODULE_METHODS if "_modules" in part.named else methods
            for name, value in part.named.items():
                if name[:2] == "__" and name not in _DESCRIBING:
                    # The attributes of an object and its class are not to be exchanged at all.
                    self.brought(value, whatever=name in ("__class__", "__dict__"))
                elif name in methods:  # whoever loads the file calls these
                    self.brought(value)
            self.copied(len(part.others))
            if any(type(key) in (Array, Constructed) for key, _ in part.others):
                # To Python, numpy's text is the name of an attribute like any other.
                self.ledger.alter("(computed)", "(computed)")
            if type(target) is Mapping or type(target) is Tensor:
                target.attributes = target.attributes or {}
                target.attributes.update(part.named)

    def exposed(self, node: Node, depth: int = 1) -> None:
        """Tell the ledger of functions that a state gave an object as attributes, once the object
        is handed to something that may look up methods on it: `dict` asks for its `keys`."""
        kind = type(node)
        if kind is Mapping or kind is Tensor:
            if node.attributes:
                self.expose(node.attributes)
        elif kind is Constructed:
            for part in _mappings(node.state):
                self.expose(part.named)
        elif depth and kind in (tuple, list):
            for item in node[:_LOOKED_INTO]:
                if (kind := type(item)) not in _PLAIN and kind is not Global:
                    self.exposed(item, depth - 1)

    def expose(self, attributes: dict[str, Node]) -> None:
        self.budget.spend(len(attributes) * _ITEM_WORK)
        for value in attributes.values():
            if type(value) is Global:
                self.brought(value)

    def looked_up(self, target: Node, *methods: str) -> None:
        """Methods that an unpickler looks up on the object itself, and calls."""
        if type(target) is Mapping:
            holders = [target.attributes or {}]
        else:
            args = target.args
            # SimpleNamespace takes a dict of its attributes (Python 3.13).
            given = _mappings(args[0]) if type(args) is tuple and args else []
            holders = [part.named for part in (*_mappings(target.state), *given)]
        for holder in holders:
            for method in methods:
                if method in holder:
                    self.brought(holder[method])

    def brought(self, method: Node, whatever: bool = False) -> None:
        """Tell the ledger of what stands where a method of an object would: unsafe, be it what it
        may, unless it is a plain value, which nobody can call."""
        if type(method) is Constructed:
            method, whatever = method.func, True
        if type(method) is Global:
            self.ledger.alter(method.module, method.name)
        elif whatever:
            self.ledger.alter("(computed)", "(computed)")

    # ------------------------------------------------------------ memo and ids

    def put(self, index: int) -> None:
        # Unpicklers keep an array as long as the greatest index.
        if index >= MAX_MEMO:
            raise OverLimit(f"a memo of {index:,} places")
        if index < 0:
            raise ValueError
        memo = self.memo
        if index >= len(memo):
            memo.extend([_FREE] * (index + 1 - len(memo)))
        self.kept += memo[index] is _FREE
        memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index < 0 or (node := self.memo[index]) is _FREE:
            raise KeyError
        self.stack.append(node)

    def persistent_line(self) -> None:
        self.stack.append(self.refer(self.old_name()))

    def persistent_id(self) -> None:
        self.stack.append(self.refer(self.stack.pop()))

    def refer(self, key: Node) -> Node:
        self.pay_call()
        self.exposed(key)
        try:
            return self.persistent(key)
        except Broken as error:
            # To be told of, but not before the rest has been searched for what is worse.
            self.complaint = self.complaint or error
            return Constructed(None, (key,))

    # ------------------------------------------------------------ numbers and text in lines

    def int_line(self) -> None:
        line = self.line()
        if line == b"00" or line == b"01":
            self.stack.append(line == b"01")
        else:
            self.stack.append(_decimal(line))

    def long_line(self) -> None:
        self.stack.append(_decimal(self.line().removesuffix(b"L")))

    def long_bytes(self, width: int) -> None:
        count = self.number(width)
        if count > MAX_INT_BYTES:
            raise OverLimit(f"an integer of {count:,} bytes")
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def string_line(self) -> None:
        line = self.line()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in b"'\"":
            raise Broken("an unquoted string")
        self.old_str(codecs.escape_decode(line[1:-1])[0])

    def unicode_line(self) -> None:
        self.stack.append(_printable(str(self.line(), "raw-unicode-escape")))


_ALTERED = {
    Tensor: ("torch", "Tensor.__setstate__"),
    StorageRef: ("torch", "UntypedStorage.__setitem__"),
    Array: ("numpy", "ndarray.__setitem__"),
    bytes: ("builtins", "bytearray.__setitem__"),
    Blob: ("builtins", "bytearray.__setitem__"),
}
# Which argument of a harmless function is a class that it makes an object of but does not call.
_SPARED = {
    ("copyreg", "_reconstructor"): 0,
    ("copyreg", "__newobj__"): 0,
    ("copyreg", "__newobj_ex__"): 0,
    ("torch._tensor", "_rebuild_from_type_v2"): 1,
    ("torch._utils", "_rebuild_wrapper_subclass"): 0,
    ("numpy.core.multiarray", "_reconstruct"): 0,
}
# What a tensor's storage is read back by where it was pickled without torch.save.
_STORED = ("torch.storage", "_load_from_bytes")
# The class of objects behind whose state joblib writes an array's numbers.
_INLINE = ("joblib.numpy_pickle", "NumpyArrayWrapper")
_INLINE_STATE = ("subclass", "shape", "order", "dtype", "allow_mmap", "numpy_array_alignment_bytes")
# Methods that whoever loads a file calls on what it holds: a dict's, and a module's.
_DICT_METHODS = frozenset(name for kind in (OrderedDict, Counter) for name in dir(kind))
_MODULE_METHODS = frozenset(
    """
    forward eval train state_dict load_state_dict parameters named_parameters buffers named_buffers
    modules named_modules children named_children to cuda cpu half float double apply zero_grad
    requires_grad_ get_submodule get_parameter share_memory
    """.split()  # noqa: SIM905
)
# Functions that make a dict.
_DICTS = frozenset(
    {("builtins", "dict"), ("__builtin__", "dict"), *(
        ("collections", name) for name in ("OrderedDict", "Counter", "defaultdict"))}
)  # fmt: skip
_PLAIN = frozenset({type(None), bool, int, float, str, bytes, StorageRef})
_LOOKED_INTO = 16  # items of a list or tuple among the arguments
# Attributes of this form that describe and are never called.
_DESCRIBING = frozenset(
    ("__doc__", "__name__", "__qualname__", "__module__", "__annotations__", "__version__",
     "__orig_class__", "__origin__", "__args__", "__parameters__", "__wrapped__", "__signature__")
)  # fmt: skip
# Tuples with named fields: torch's own, whose `__new__` holds what it is given.
_HOLDING = ("torch.return_types", "torch.nn.modules.module", "torch.distributed")


def _printable(text: str) -> str:
    """Lone surrogates are legal but could be printed nowhere; no two may become one."""
    return text.encode("utf-8", "backslashreplace").decode()


def _mappings(state: Node) -> list[Mapping]:
    """The dicts of attributes in a state: one, or one and another of slots; of an object, what it
    holds."""
    parts = state if type(state) is tuple and len(state) == 2 else (state,)
    held = (part.content if type(part) is Constructed else part for part in parts)
    return [part for part in held if type(part) is Mapping]


def _is_brought(func: Node) -> bool:
    """Whether a name is of a class that a TorchScript archive brings along."""
    return type(func) is Global and func.module.startswith("__torch__.")


def _takes_values(cls: Node) -> bool:
    """Is it a class that does nothing with the arguments of its `__new__` but hold them?"""
    return type(cls) is Global and cls.module.startswith(_HOLDING)


def _hashed(keys: Iterable[Node], budget: Budget) -> None:
    """Refuse keys that take for ever to hash: tuples hold the same tuple twice, and so on down."""
    for key in keys:
        if type(key) is tuple:
            left, todo = MAX_KEY, [key]
            while todo:
                inner = todo.pop()
                budget.spend((1 + len(inner)) * _ITEM_WORK)
                left -= len(inner)
                if left < 0:
                    raise OverLimit(f"a key of more than {MAX_KEY:,} values")
                todo.extend(item for item in inner if type(item) is tuple)


def _decimal(line: bytes) -> int:
    if len(line) > MAX_DIGITS:
        raise OverLimit(f"an integer of {len(line):,} digits")
    return int(line)


Step = Callable[[Machine], object]
_STEPS: list[Step | None] = [None] * 256


def _set(code: bytes, step: Step) -> None:
    _STEPS[code[0]] = step


def _protocol(m: Machine) -> None:
    m.protocol = m.take(1)[0]


# The most frequent opcodes of all do without a call.


def _int1(m: Machine) -> None:
    at = m.position
    if at >= m.end:
        raise Cut("it ends in the middle")
    m.position = at + 1
    m.stack.append(m.data[at])


def _get1(m: Machine) -> None:
    at = m.position
    if at >= m.end:
        raise Cut("it ends in the middle")
    m.position = at + 1
    if (node := m.memo[m.data[at]]) is _FREE:
        raise KeyError
    m.stack.append(node)


def _put1(m: Machine) -> None:
    at = m.position
    if at >= m.end:
        raise Cut("it ends in the middle")
    m.position = at + 1
    m.put(m.data[at])


def _int2(m: Machine) -> None:
    at = m.position
    stop = m.position = at + 2
    if stop > m.end:
        raise Cut("it ends in the middle")
    m.stack.append(int.from_bytes(m.data[at:stop], "little"))


def _get4(m: Machine) -> None:
    at = m.position
    stop = m.position = at + 4
    if stop > m.end:
        raise Cut("it ends in the middle")
    if (node := m.memo[int.from_bytes(m.data[at:stop], "little")]) is _FREE:
        raise KeyError
    m.stack.append(node)


def _text4(m: Machine) -> None:
    at = m.position
    start = at + 4
    count = int.from_bytes(m.data[at:start], "little")
    stop = start + count
    if count > MAX_STRING or stop > m.end:
        m.text(4)  # which says what is wrong
        return
    m.position = stop
    try:
        m.stack.append(m.data[start:stop].decode())
    except UnicodeDecodeError:
        m.position = at
        m.text(4)


def _text1(m: Machine) -> None:
    at = m.position
    start = at + 1
    data = m.data
    if start > m.end:
        raise Cut("it ends in the middle")
    stop = start + data[at]
    if stop > m.end:
        raise Cut("it ends in the middle")
    m.position = stop
    try:
        m.stack.append(data[start:stop].decode())
    except UnicodeDecodeError:
        m.position = at
        m.text(1)


def _tuple(m: Machine) -> None:
    items = m.stack
    stack = m.stack = m.marks.pop()
    stack.append(tuple(items))


def _tuple2(m: Machine) -> None:
    stack = m.stack
    if len(stack) < 2:
        raise IndexError
    last = stack.pop()
    stack[-1] = (stack[-1], last)


def _put4(m: Machine) -> None:
    at = m.position
    stop = m.position = at + 4
    if stop > m.end:
        raise Cut("it ends in the middle")
    index = int.from_bytes(m.data[at:stop], "little")
    if index == len(m.memo) < MAX_MEMO:
        m.memo.append(m.stack[-1])
        m.kept += 1
    else:
        m.put(index)


def _memoize(m: Machine) -> None:
    if m.kept == len(m.memo) < MAX_MEMO:
        m.memo.append(m.stack[-1])
        m.kept += 1
    else:
        m.put(m.kept)  # as many as there are, wherever they are


_set(b"\x80", _protocol)
_set(b"\x95", Machine.frame)
_set(b"(", Machine.mark)
_set(b"0", Machine.pop)
_set(b"1", Machine.since_mark)
_set(b"2", lambda m: m.stack.append(m.stack[-1]))
_set(b"N", lambda m: m.stack.append(None))
_set(b"\x88", lambda m: m.stack.append(True))
_set(b"\x89", lambda m: m.stack.append(False))
_set(b"I", Machine.int_line)
_set(b"L", Machine.long_line)
_set(b"K", _int1)
_set(b"M", _int2)
_set(b"J", lambda m: m.stack.append(int.from_bytes(m.take(4), "little", signed=True)))
_set(b"\x8a", lambda m: m.long_bytes(1))
_set(b"\x8b", lambda m: m.long_bytes(4))
_set(b"F", lambda m: m.stack.append(float(m.line())))
_set(b"G", lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0]))
_set(b"S", Machine.string_line)
_set(b"T", lambda m: m.old_text(m.number(4)))
_set(b"U", lambda m: m.old_text(m.number(1)))
_set(b"V", Machine.unicode_line)
_set(b"X", _text4)
_set(b"\x8c", _text1)
_set(b"\x8d", lambda m: m.text(8))
_set(b"B", lambda m: m.blob(4))
_set(b"C", lambda m: m.blob(1))
_set(b"\x8e", lambda m: m.blob(8))
_set(b"\x96", lambda m: m.blob(8))  # BYTEARRAY8
_set(b"\x97", lambda m: m.stack.append(Constructed(None, ())))  # NEXT_BUFFER, of the loader's own
_set(b"\x98", lambda m: None)  # READONLY_BUFFER
_set(b")", lambda m: m.stack.append(()))
_set(b"]", lambda m: m.new_sequence([]))
_set(b"}", lambda m: m.new_mapping([]))
_set(b"\x8f", lambda m: m.new_bag([]))
_set(b"t", _tuple)
_set(b"\x85", lambda m: m.push_tuple(1))
_set(b"\x86", _tuple2)
_set(b"\x87", lambda m: m.push_tuple(3))
_set(b"l", lambda m: m.new_sequence(m.since_mark()))
_set(b"d", lambda m: m.new_mapping(m.since_mark()))
_set(b"\x91", lambda m: m.new_bag(m.since_mark()))
_set(b"a", Machine.append)
_set(b"e", Machine.extend_marked)
_set(b"\x90", Machine.extend_marked)  # ADDITEMS
_set(b"s", Machine.set_item)
_set(b"u", Machine.set_items)
_set(b"g", lambda m: m.get(_decimal(m.line())))
_set(b"h", _get1)
_set(b"j", _get4)
_set(b"p", lambda m: m.put(_decimal(m.line())))
_set(b"q", _put1)
_set(b"r", _put4)
_set(b"\x94", _memoize)
_set(b"c", Machine.push_global)
_set(b"\x93", Machine.push_stack_global)
_set(b"\x82", lambda m: m.push_extension(1))
_set(b"\x83", lambda m: m.push_extension(2))
_set(b"\x84", lambda m: m.push_extension(4))
_set(b"R", Machine.reduce)
_set(b"\x81", Machine.new_object)
_set(b"\x92", Machine.new_object_ex)
_set(b"i", Machine.old_instance)
_set(b"o", Machine.old_object)
_set(b"b", Machine.build)
_set(b"P", Machine.persistent_line)
_set(b"Q", Machine.persistent_id)
