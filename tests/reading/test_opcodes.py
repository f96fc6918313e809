"""docs/pickle-opcodes.md, row by row: what Python's own unpicklers call is told of, by each opcode.

The unpicklers run in a process of their own, watched; all that they can call is its `probe`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import pickletools
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.facts import Danger
from interop.reading.pickle.imports import Ledger
from interop.reading.pickle.machine import Machine
from interop.reading.pickle.records import Broken
from tests.fuzz.conftest import FUZZ

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/pickle-opcodes.md"

P4 = b"\x80\x04"
HIT = b"cprobe\nhit\n"


def text(word: str) -> bytes:
    return b"X" + len(word).to_bytes(4, "little") + word.encode()


def new(name: str, module: str = "probe") -> bytes:
    """An object without a call of its `__init__`: NEWOBJ without arguments."""
    return f"c{module}\n{name}\n".encode() + b")\x81"


def state(**values: bytes) -> bytes:
    return b"}(" + b"".join(text(k) + v for k, v in values.items()) + b"u"


ODICT = b"ccollections\nOrderedDict\n)R"
NAMESPACE = b"ctypes\nSimpleNamespace\n)R"
RECONSTRUCTED = b"ccopyreg\n_reconstructor\ncprobe\nThing\ncbuiltins\nobject\nN\x87R"
ARGUMENTS = b"cargparse\nNamespace\n)R"
COUNTER = b"ccollections\nCounter\n)R"
# numpy's text: a scalar of the dtype U12, little-endian.
WORD = "__setstate__"
NUMPY_WORD = (
    b"cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\n(" + text("U12")
    + b"\x89\x88tR(K\x03" + text("<") + b"NNNJ\x30\0\0\0K\x04K\x08tb"
    + b"B\x30\0\0\0" + WORD.encode("utf-32-le") + b"\x86R"
)  # fmt: skip

UNSAFE, CODE, NOTHING = "unsafe", "code", ""
# opcodes of a row -> programs: (what is said of it, opcodes between PROTO and STOP)
Program = tuple[str, bytes]
BY_STATE = {
    "__setstate__ of a dict": state(__setstate__=HIT) + b"b",
    "__setstate__ of slots": b"N" + state(__setstate__=HIT) + b"\x86b",
    "__setstate__ of both": state(a=b"K\x01") + state(__setstate__=HIT) + b"\x86b",
    "__setstate__, a harmless one": state(__setstate__=b"ccollections\nCounter\n") + b"b",
}
ROWS: dict[str, dict[str, Program]] = {
    "BUILD": {
        **{
            f"{how} of {what}": (UNSAFE, made + program + b"}b")
            for how, program in BY_STATE.items()
            for what, made in (
                ("an OrderedDict", ODICT), ("a namespace", NAMESPACE), ("a thing", new("Thing")),
                ("a Namespace", ARGUMENTS), ("a Counter", COUNTER),
                ("an object", RECONSTRUCTED),
            )
        },
        "a method by the name of numpy's text": (
            UNSAFE, ODICT + b"}(" + NUMPY_WORD + HIT + b"ub}b"
        ),
        "attributes by way of __dict__": (
            UNSAFE, b"}q\x010" + new("Thing") + b"N}(" + text("__dict__") + b"h\x01u\x86bh\x01("
            + text("__setstate__") + HIT + b"u0}b"
        ),
        "a state that dict makes of a set": (
            UNSAFE, NAMESPACE + b"cbuiltins\ndict\n](](" + text("__setstate__") + HIT
            + b"eccollections\nCounter\n}\x85Re\x85Rb}b"
        ),
        "a state that dict makes of sets": (
            UNSAFE, NAMESPACE + b"cbuiltins\ndict\n](\x8f(" + text("__setstate__") + HIT
            + b"\x90e\x85\x85Rb}b"
        ),
        "a state of a class of its own": (
            UNSAFE, ODICT + new("Dict") + text("__setstate__") + HIT + b"sb}b"
        ),
        "an object that numpy hands back": (
            UNSAFE, b"cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\n(" + text("O8")
            + b"\x89\x88tR" + ODICT + b"\x86R" + state(__setstate__=HIT) + b"b}b"
        ),
        "another class": (
            UNSAFE, new("Thing") + b"N" + state(__class__=b"cprobe\nLater\n") + b"\x86b}b"
        ),
        "a class's own __setstate__": (CODE, new("Hooked") + b"}b"),
        "a class's own __setattr__": (CODE, new("Hooked") + b"N" + state(x=b"K\x01") + b"\x86b"),
        "a class itself": (UNSAFE, b"cprobe\nThing\n" + state(x=HIT) + b"b"),
        "a method of a dict, for who reads it": (UNSAFE, ODICT + state(items=HIT) + b"b"),
        "a method of a module, for who runs it": (
            UNSAFE, new("Thing") + state(_modules=b"}", forward=HIT) + b"b"
        ),
        "a module's function": (CODE, new("Thing") + state(_modules=b"}", act=HIT) + b"b"),
        "plain attributes": (NOTHING, NAMESPACE + state(x=b"K\x01", names=b"]") + b"b"),
        "a description": (NOTHING, NAMESPACE + state(__doc__=text("of no matter")) + b"b"),
    },
    "APPEND": {
        "append of a state": (UNSAFE, NAMESPACE + state(append=HIT) + b"bK\x01a"),
        "extend of a state": (UNSAFE, ODICT + state(extend=HIT) + b"bK\x01a"),
        "a class's own": (CODE, new("Hooked") + b"K\x01a"),
        "a list": (NOTHING, b"]K\x01a"),
    },
    "APPENDS": {
        "append of a state": (UNSAFE, ODICT + state(append=HIT) + b"b(K\x01K\x02e"),
        "extend of slots": (UNSAFE, NAMESPACE + b"N" + state(extend=HIT) + b"\x86b(K\x01e"),
        "of a reconstructed thing": (
            UNSAFE, new("Thing") + state(extend=HIT) + b"b(K\x01e"
        ),
        "a class's own": (CODE, new("Hooked") + b"(K\x01e"),
        "a list": (NOTHING, b"](K\x01K\x02e"),
    },
    "ADDITEMS": {
        "add of a state": (UNSAFE, ODICT + state(add=HIT) + b"b(K\x01\x90"),
        "update of a state": (UNSAFE, NAMESPACE + state(update=HIT, add=HIT) + b"b(K\x01\x90"),
        "a class's own": (CODE, new("Hooked") + b"(K\x01\x90"),
        "a key's hash": (CODE, b"\x8f(" + new("Key") + b"\x90"),
        "a set": (NOTHING, b"\x8f(K\x01\x90"),
    },
    "FROZENSET": {
        "a key's hash": (CODE, b"(" + new("Key") + b"\x91"),
        "plain": (NOTHING, b"(K\x01\x91"),
    },
    "DICT": {
        "a key's hash": (CODE, b"(" + new("Key") + b"K\x01d"),
        "plain": (NOTHING, b"(K\x01K\x02d"),
    },
    "SETITEM": {
        "a class's own": (CODE, new("Hooked") + b"K\x01K\x02s"),
        "a key's hash": (CODE, b"}" + new("Key") + b"K\x02s"),
        "an object's own is not looked up": (
            UNSAFE, ODICT + state(__setitem__=HIT) + b"bK\x01K\x02s"
        ),
        "a dict": (NOTHING, b"}K\x01K\x02s"),
    },
    "SETITEMS": {
        "a class's own": (CODE, new("Hooked") + b"(K\x01K\x02u"),
        "a dict": (NOTHING, b"}(K\x01K\x02u"),
    },
    "REDUCE": {
        "a function": (UNSAFE, HIT + b")R"),
        "a class": (UNSAFE, b"cprobe\nInitial\n)R"),
        "__call__ of a class": (UNSAFE, new("Hooked") + b")R"),
        "a name among the arguments": (
            UNSAFE, b"ccollections\ndefaultdict\n" + HIT + b"\x85R"
        ),
        "keys of an object that is made a dict": (
            UNSAFE, b"cbuiltins\ndict\n" + new("Thing") + state(keys=HIT) + b"b\x85R"
        ),
        "keys of another": (
            UNSAFE, b"ccollections\nOrderedDict\n" + ARGUMENTS + state(keys=HIT) + b"b\x85R"
        ),
        "an object of plain attributes": (
            NOTHING, b"cbuiltins\nlist\n" + ARGUMENTS + state(keys=text("a")) + b"b\x85\x85R"
        ),
        "by way of copyreg": (UNSAFE, b"ccopyreg\n__newobj__\ncprobe\nNew\nK\x01\x86R"),
        "on the list": (NOTHING, ODICT),
    },
    "INST": {
        "a class": (UNSAFE, b"(K\x01iprobe\nInitial\n"),
        "without arguments": (UNSAFE, b"(iprobe\nInitial\n"),
        "on the list": (NOTHING, b"(icollections\nOrderedDict\n"),
    },
    "OBJ": {
        "a class": (UNSAFE, b"(cprobe\nInitial\nK\x01o"),
        "on the list": (NOTHING, b"(ccollections\nOrderedDict\no"),
    },
    "NEWOBJ": {
        "arguments": (UNSAFE, b"cprobe\nNew\nK\x01\x85\x81"),
        "none": (CODE, b"cprobe\nNew\n)\x81"),
        "on the list": (NOTHING, b"ccollections\nOrderedDict\n)\x81"),
    },
    "NEWOBJ_EX": {
        "arguments": (UNSAFE, b"cprobe\nNew\n)" + state(a=b"K\x01") + b"\x92"),
        "none": (CODE, b"cprobe\nNew\n)}\x92"),
        "on the list": (NOTHING, b"ccollections\nOrderedDict\n)}\x92"),
    },
    "POP": {"an object goes": (CODE, new("Gone") + b"0N"), "plain": (NOTHING, b"K\x01K\x020")},
    "GLOBAL": {"a name": (CODE, HIT), "on the list": (NOTHING, b"ccollections\nOrderedDict\n")},
    "STACK_GLOBAL": {
        "a name": (CODE, text("probe") + text("hit") + b"\x93"),
        "called": (UNSAFE, text("probe") + text("hit") + b"\x93)R"),
        "by way of a class": (CODE, text("probe") + text("Hooked.pop") + b"\x93"),
    },
    "EXT1": {"a number": (CODE, b"\x82\x01")},
    "EXT2": {"a number": (CODE, b"\x83\x01\0")},
    "EXT4": {"a number": (CODE, b"\x84\x01\0\0\0")},
    "FRAME": {
        # The unpickler in Python, and so dill's and joblib's, takes a frame that is cut short.
        "longer than the file": (UNSAFE, b"\x95\xff\0\0\0\0\0\0\0" + HIT + b")R"),
        "plain": (NOTHING, b"\x95\x03\0\0\0\0\0\0\0K\x01"),
    },
    "STOP": {"a second pickle is searched": (NOTHING, b"N")},
}  # fmt: skip
# Unsafe without a call of the probe's: what is called is harmless here, or is changed alone.
QUIET = (
    "a state that dict",
    "an object that numpy",
    "a method of a",
    "a name among the arguments",
    "__setstate__, a harmless one",
    "a class itself",
    "an object's own is not looked up",
)
# A tensor without bytes, with an attribute that stands where a method of its class would.
TENSOR = (
    b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_meta_tensor_no_storage\n"
    b"ctorch\nTensor\n(ctorch\nfloat32\nK\x02\x85K\x01\x85\x89t" + state(as_subclass=HIT) + b"tR"
)
OF_TORCH: dict[str, Program] = {
    "attributes of _rebuild_from_type_v2": (
        UNSAFE,
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ccollections\nOrderedDict\n"
        b"ccollections\nOrderedDict\n)" + state(__setstate__=HIT) + b"tR}b",
    ),
    "detach of what is made a parameter": (
        UNSAFE,
        b"ctorch._utils\n_rebuild_parameter\n("
        + ARGUMENTS
        + state(detach=HIT)
        + b"b\x88ccollections\nOrderedDict\n)RtR",
    ),
    "as_subclass of what a type is put on": (
        UNSAFE,
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch.jit._pickle\nrestore_type_tag\n"
        b"ccollections\nOrderedDict\n"
        + ARGUMENTS
        + state(as_subclass=HIT)
        + b"b"
        + text("x")
        + b"\x86}tR",
    ),
    "as_subclass of what another such call made": (
        UNSAFE,
        b"ctorch._tensor\n_rebuild_from_type_v2\nq\x00(h\x00ctorch.nn.parameter\nParameter\n("
        b"ccopyreg\n__newobj__\ncargparse\nNamespace\nq\x01h\x01\x85"
        + state(as_subclass=HIT)
        + b"t}tR",
    ),
    "as_subclass of a tensor": (
        UNSAFE,
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch.jit._pickle\nrestore_type_tag\n"
        b"ctorch.nn.parameter\nParameter\n" + TENSOR + text("x") + b"\x86}tR",
    ),
    "a method of _rebuild_from_type_v2": (
        UNSAFE,
        b"ctorch._tensor\n_rebuild_from_type_v2\n(ccollections\nOrderedDict\n"
        b"ccollections\nOrderedDict\n)" + state(extend=HIT) + b"tR(K\x01e",
    ),
}


def said(program: bytes) -> str:
    """What interop says of a program: "unsafe", "code", or ""."""
    ledger = Ledger()
    with contextlib.suppress(Broken, RecursionError):
        Machine(program, ledger, lambda key: key).run()
    dangers = {one.danger for one in ledger.imports()}
    return UNSAFE if Danger.UNSAFE in dangers else CODE if Danger.CODE in dangers else NOTHING


@cache
def _child(*modules: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.reading.unpickle_child", *modules]
    pipe = subprocess.PIPE
    child = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1, cwd=ROOT)
    atexit.register(child.kill)
    return child


def loaded(program: bytes, *modules: str) -> list[dict[str, object]]:
    """What Python's unpicklers do with a program: in C, and in Python."""
    child = _child(*modules)
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(f"{program.hex()}\n")
    answer = child.stdout.readline()
    assert answer, "the process was stopped: see its stderr"
    both: list[dict[str, object]] = json.loads(answer)
    return both


def _held(rows: dict[str, Program], *modules: str) -> None:
    wrong = []
    for how, (expected, program) in rows.items():
        ends = loaded(P4 + program + b".", *modules)
        called = any(end["called"] for end in ends)
        here = said(P4 + program + b".")
        if here != expected or (called and here == NOTHING):
            wrong.append((how, expected, here, ends))
        if expected == UNSAFE and not called and not how.startswith(QUIET):
            wrong.append((how, expected, here, ends))
    assert wrong == []


def test_the_page_has_a_row_for_every_opcode() -> None:
    rows = re.findall(r"^\| (`.*?) \|", PAGE.read_text(), re.M)
    named = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(one.name for one in pickletools.opcodes)


@pytest.mark.parametrize("opcode", ROWS)
def test_each_opcode_is_followed_as_python_does(opcode: str) -> None:
    _held(ROWS[opcode])


def test_an_opcode_that_may_call_is_seen_to_call() -> None:
    """The watch works: in each row of a call, one of the two unpicklers did make it."""
    quiet = {"GLOBAL", "EXT1", "EXT2", "EXT4", "STOP", "STACK_GLOBAL"}
    seen = {
        opcode: any(
            end["called"]
            for word, program in rows.values()
            if word != NOTHING
            for end in loaded(P4 + program + b".")
        )
        for opcode, rows in ROWS.items()
        if opcode not in quiet
    }
    assert [name for name, called in seen.items() if not called] == []


@pytest.mark.needs_torch
def test_torchs_own_functions_that_set_attributes_are_followed() -> None:
    _held(OF_TORCH, "torch", "torch.jit._pickle")


@pytest.mark.parametrize("kind", ["S4", "V4", "U1", "f4"])
def test_a_dtype_of_another_size_than_its_name(kind: str) -> None:
    """joblib goes by the size, and would take other bytes for numbers than this reader does."""
    size = {"S4": 4, "V4": 4, "U1": 4, "f4": -1}[kind]

    def dtype(stated: int) -> bytes:
        number = b"J" + stated.to_bytes(4, "little", signed=True)
        about = b"(K\x03" + text("|") + b"NNN" + number + b"K\x01K\0tb"
        return b"cnumpy\ndtype\n(" + text(kind) + b"\x89\x88tR" + about

    assert said(P4 + dtype(size) + b".") == NOTHING
    assert said(P4 + dtype(32) + b".") == UNSAFE
    # The same state by way of functions that hand it on.
    about = b"(" + text(kind) + b"\x89\x88t(K\x03" + text("|") + b"NNNK\x20K\x01K\0ttR."
    by_torch = b"ctorch._tensor\n_rebuild_from_type_v2\n(cnumpy\ndtype\ncnumpy.dtypes\nBytesDType\n"
    assert said(P4 + by_torch + about) == UNSAFE
    assert said(P4 + b"cdill._dill\n_create_array\n(cnumpy\ndtype\n" + about) == UNSAFE


def test_joblib_calls_a_method_of_its_wrapper() -> None:
    wrapper = P4 + b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81"
    assert said(wrapper + state(read=HIT) + b"b.") == UNSAFE
    assert said(wrapper + state(order=text("C")) + b"b.") == NOTHING


# ---------------------------------------------------------------- any program

_MAKERS = (
    ODICT, NAMESPACE, ARGUMENTS, COUNTER, b"]", b"}", b"\x8f", new("Thing"),
    b"ccollections\ndeque\n)R", b"ccollections\nOrderedDict\n)\x81",
)  # fmt: skip
_NAMES = (
    "__setstate__", "append", "extend", "add", "update", "__dict__", "__class__", "x", "__reduce__",
    "__getattr__", "__setitem__", "__call__", "keys", "items",
)  # fmt: skip


_TAKING = tuple(
    f"c{module}\n{name}\n".encode()
    for module, name in (
        ("builtins", "dict"), ("builtins", "list"), ("builtins", "set"), ("builtins", "bytearray"),
        ("collections", "OrderedDict"), ("collections", "Counter"), ("collections", "deque"),
        ("types", "SimpleNamespace"),
    )
)  # fmt: skip


@st.composite
def programs(draw: st.DrawFn) -> bytes:
    """Objects in the memo, and what is done to them: states, items, calls, each with another."""
    count = draw(st.integers(1, 3))
    body = b""
    for index in range(count):
        body += draw(st.sampled_from(_MAKERS)) + b"q" + bytes([index]) + b"0"
    get = st.integers(0, count - 1).map(lambda n: b"h" + bytes([n]))
    plain = st.sampled_from((b"N", b"K\x01", b")", HIT, b"ccollections\nOrderedDict\n", text("x")))
    value = st.one_of(plain, get)
    names = st.sampled_from(_NAMES).map(text)
    entries = st.lists(st.tuples(names, value).map(b"".join), min_size=1, max_size=2).map(b"".join)
    mapping = st.one_of(entries.map(lambda pairs: b"}(" + pairs + b"u"), get)
    states = st.one_of(
        mapping.map(lambda m: m + b"b"),
        mapping.map(lambda m: b"N" + m + b"\x86b"),
        st.tuples(mapping, mapping).map(lambda two: two[0] + two[1] + b"\x86b"),
        value.map(lambda v: v + b"b"),
    )
    items = st.one_of(
        value.map(lambda v: v + b"a"),
        value.map(lambda v: b"(" + v + b"e"),
        value.map(lambda v: b"(" + v + b"\x90"),
        st.tuples(names, value).map(lambda pair: pair[0] + pair[1] + b"s"),
        entries.map(lambda pairs: b"(" + pairs + b"u"),
        value.map(lambda v: v + b"\x85R"),
        # It gives way to what a harmless function makes of another object.
        st.tuples(st.sampled_from(_TAKING), get).map(lambda two: b"0" + two[0] + two[1] + b"\x85R"),
        st.just(b")R"),
        st.just(b"}b"),
    )
    for _ in range(draw(st.integers(1, 5))):
        body += draw(get) + draw(st.one_of(states, items)) + b"0"
    return P4 + body + b"N."


@FUZZ
@given(st.lists(programs(), min_size=20, max_size=40))
def test_whatever_a_program_calls_is_told(many: list[bytes]) -> None:
    for program in many:
        if any(end["called"] for end in loaded(program)):
            assert said(program) == UNSAFE, pickletools.dis(program)
