"""Hostile pickles: told of by name, or refused by a limit; never run, never a crash."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interop.errors import ReadError
from interop.reading import read
from interop.reading.pickle.imports import Ledger
from interop.reading.pickle.machine import Machine
from tests.reading.conftest import dangers

MARKER = "marker_of_a_run"


def _u(text: str) -> bytes:
    """SHORT_BINUNICODE."""
    return b"\x8c" + bytes([len(text)]) + text.encode()


COMMAND = _u(f"touch {MARKER}")
SYSTEM = b"cposix\nsystem\n"
# name -> (pickle, the import that it must be told for)
ATTACKS: dict[str, tuple[bytes, str]] = {
    "global and reduce": (b"\x80\x02" + SYSTEM + COMMAND + b"\x85R.", "posix.system"),
    "protocol 0": (b"cos\nsystem\n(S'touch %s'\ntR." % MARKER.encode(), "os.system"),
    "stack global": (
        b"\x80\x04" + _u("os") + _u("system") + b"\x93" + COMMAND + b"\x85R.",
        "os.system",
    ),
    "inst": (b"(" + b"S'touch x'\n" + b"ios\nsystem\n.", "os.system"),
    "obj": (b"\x80\x02(" + SYSTEM + COMMAND + b"o.", "posix.system"),
    "names by way of the memo": (
        b"\x80\x04" + _u("system") + b"\x94" + _u("os") + b"\x94" + b"00h\x01h\x00\x93"
        + COMMAND + b"\x85R.",
        "os.system",
    ),
    "reduce by way of newobj": (b"\x80\x02" + SYSTEM + COMMAND + b"\x85\x81.", "posix.system"),
    "a dotted name": (
        b"\x80\x04" + _u("torch") + _u("serialization.os.system") + b"\x93" + COMMAND + b"\x85R.",
        "torch.serialization.os.system",
    ),
    "eval": (b"\x80\x02c__builtin__\neval\n" + _u("1") + b"\x85R.", "builtins.eval"),
    "eval of protocol 4": (
        b"\x80\x04c__builtin__\neval\n" + _u("1") + b"\x85R.",
        "__builtin__.eval",
    ),
    "commands": (b"\x80\x02ccommands\nPopen\n" + COMMAND + b"\x85R.", "subprocess.Popen"),
    "commands, inst": (b"(S'touch x'\nicommands\ngetoutput\n.", "subprocess.getoutput"),
    "subprocess": (b"\x80\x02csubprocess\nPopen\n" + COMMAND + b"\x85R.", "subprocess.Popen"),
    "reduce of Python 2": (b"\x80\x02c__builtin__\nreduce\n)R.", "functools.reduce"),
    "urlopen": (b"\x80\x02curllib2\nurlopen\n" + _u("a") + b"\x85R.", "urllib.request.urlopen"),
    "an unknown function": (b"\x80\x02csome.thing\nrun\n)R.", "some.thing.run"),
    "a call of what a call gave": (
        b"\x80\x02cbuiltins\ngetattr\n" + SYSTEM + COMMAND + b"\x86R)R.",
        "(computed).(computed)",
    ),
    "a computed name": (
        b"\x80\x04cbuiltins\nstr\n" + _u("os") + b"\x85R0)" + _u("system") + b"\x93.",
        "(computed).(computed)",
    ),
    "build on a function": (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}" + _u("__defaults__") + b")sb.",
        "torch._utils._rebuild_tensor_v2",
    ),
    "setitem on a class": (
        b"\x80\x02ccollections\nOrderedDict\n" + _u("a") + b"K\x01s.",
        "collections.OrderedDict",
    ),
    "by way of rebuild_from_type": (
        b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(" + SYSTEM + b"N" + COMMAND
        + b"\x85Nt\x52.",
        "posix.system",
    ),
    "by way of reconstructor": (
        b"\x80\x02ccopyreg\n_reconstructor\n(csubprocess\nPopen\ncbuiltins\nobject\nNtR.",
        "subprocess.Popen",
    ),
    "an extension code": (b"\x80\x02\x82\x01)R.", "copyreg.extension_1"),
    "a nested load": (b"\x80\x02ctorch.storage\n_load_from_bytes\nC\x01a\x85R.",
                      "torch.storage._load_from_bytes"),
    "a broken tail": (b"\x80\x02" + SYSTEM + COMMAND + b"\x85R\xff\xff", "posix.system"),
    "no stop": (b"\x80\x02" + SYSTEM + COMMAND + b"\x85R", "posix.system"),
    "an empty stack afterwards": (b"\x80\x02" + SYSTEM + COMMAND + b"\x85R00000.", "posix.system"),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("zipped", [True, False])
def test_an_attack_is_named_and_not_run(
    attack: str,
    zipped: bool,
    tmp_path: Path,
    write_zip: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    program, culprit = ATTACKS[attack]
    path = tmp_path / "hostile.pth"
    if zipped:
        path = write_zip({"hostile/data.pkl": program})
    else:
        path.write_bytes(program)
    manifest = read(path)
    assert manifest.container == ("torch-zip" if zipped else "pickle")
    assert dangers(manifest)[culprit] == "unsafe"
    assert not (tmp_path / MARKER).exists()


class _Runs:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {MARKER}",)


@pytest.mark.needs_torch
@pytest.mark.parametrize("protocol", range(6))
def test_an_attack_as_pickle_writes_it(
    protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.pth").write_bytes(pickle.dumps({"w": _Runs()}, protocol))
    torch.save({"w": torch.ones(1), "x": _Runs()}, tmp_path / "t.pth", pickle_protocol=protocol)
    for name in ("p.pth", "t.pth"):
        assert "unsafe" in dangers(read(tmp_path / name)).values()
    assert not (tmp_path / MARKER).exists()


class _Calls:
    def __init__(self, function: Any) -> None:
        self.function = function

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, ("1",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [eval, subprocess.Popen])
def test_a_function_has_the_name_that_would_be_imported(
    function: Any, protocol: int, tmp_path: Path
) -> None:
    (tmp_path / "p.pth").write_bytes(pickle.dumps({"w": _Calls(function)}, protocol))
    expected = f"{function.__module__}.{function.__name__}"
    assert dangers(read(tmp_path / "p.pth")) == {expected: "unsafe"}


def test_a_class_only_instantiated_or_named_is_code(write_zip: Callable[..., Path]) -> None:
    program = b"\x80\x02(cmy.models\nNet\n)\x81}bcmy.models\nOther\nt."
    assert dangers(read(write_zip({"a/data.pkl": program}))) == {
        "my.models.Net": "code",
        "my.models.Other": "code",
    }


def _nested_tuple_key(depth: int) -> bytes:
    # Each tuple holds the one before twice: its hash takes 2 ** depth steps.
    return b"\x80\x02})" + b"2\x86" * depth + b"K\x01s."


def _shared_lists(depth: int) -> bytes:
    """A list that holds a list twice, that holds a list twice, ..."""
    program = b"\x80\x02}" + _u("x") + b"]q\x00"
    for index in range(depth):
        program += b"0](h" + bytes([index]) + b"h" + bytes([index]) + b"e"
        program += b"q" + bytes([index + 1])
    return program + b"s."


CHEAP = {
    "lists shared without end": _shared_lists(90),
    "a list that holds itself": b"\x80\x02}" + _u("x") + b"]q\x00h\x00as.",
    "integers that hash alike": b"\x80\x02}("
    + b"".join(b"\x8a\x10" + (k * (2**61 - 1)).to_bytes(16, "little") + b"N" for k in range(5000))
    + b"u.",
}


@pytest.mark.parametrize("name", CHEAP)
def test_what_is_dear_to_unpickle_is_cheap_to_read(
    name: str, write_zip: Callable[..., Path]
) -> None:
    manifest = read(write_zip({"a/data.pkl": CHEAP[name]}))
    assert manifest.state_dicts == ()


LIMITS = {
    "a long text memo index": b"\x80\x02}p9999999999999999999999\n.",
    "a huge memo index": b"\x80\x02}r\xff\xff\xff\x7f.",
    "a key of nested tuples": _nested_tuple_key(200),
    "a huge bytearray": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06" + (10**11).to_bytes(6, "little")
    + b"\x85R.",
    "lists nested deeply": b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b".",
    "marks nested deeply": b"\x80\x02" + b"(" * 20_000 + b".",
    "calls nested deeply": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\nq\x00"
    + b"(NNtq\x01" + b"0h\x00Nh\x01N\x86" * 0
    + b"0)" + b"q\x020h\x00(h\x00Nh\x02Nt" * 5000 + b"R.",
    "an integer of many digits": b"L" + b"9" * 5000 + b"L\n.",
    "an endless line": b"\x80\x02V" + b"a" * 70_000,
    "a great integer": b"\x80\x02\x8b" + struct.pack("<i", 9000) + b"\x01" * 9000 + b".",
    "a long name": b"\x80\x02c" + b"a" * 2000 + b"\nb\n.",
}  # fmt: skip


@pytest.mark.parametrize("name", LIMITS)
def test_what_asks_for_too_much_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.pth"
    path.write_bytes(LIMITS[name])
    with pytest.raises(ReadError) as error:
        read(path)
    assert error.value.rule == "pickle-over-limit", str(error.value)


@pytest.mark.parametrize(
    "program",
    [
        b"\x80\x02\x8e" + b"\xff" * 8 + b".",
        b"\x80\x02\x8e" + struct.pack("<Q", 10**11) + b"abc.",
        b"\x80\x02B" + struct.pack("<I", 2**31) + b"abc.",
        b"\x80\x02X" + struct.pack("<I", 2**31) + b"abc.",
        b"\x80\x04\x8d" + struct.pack("<Q", 2**60) + b"abc.",
    ],
)
def test_bytes_that_are_promised_and_not_there_are_not_asked_for(
    program: bytes, tmp_path: Path
) -> None:
    (tmp_path / "h.pth").write_bytes(program)
    with pytest.raises(ReadError) as error:
        read(tmp_path / "h.pth")
    assert error.value.rule == "file-truncated"


@pytest.mark.needs_torch
def test_a_tensor_reached_a_billion_times_is_over_the_limit(tmp_path: Path) -> None:
    import torch

    node: Any = {"w": torch.ones(1, 2)}
    for _ in range(40):
        node = {"a": node, "b": node}
    torch.save(node, tmp_path / "m.pth")
    with pytest.raises(ReadError) as error:
        read(tmp_path / "m.pth")
    assert error.value.rule == "pickle-over-limit"


def test_an_item_of_a_list_is_replaced() -> None:
    assert Machine(b"](K\x01K\x02eK\x00K\x07s.", Ledger(), lambda key: key).run() == [7, 2]


@pytest.mark.parametrize(
    "made",
    [
        b"cmine\nThing\n)\x81",  # without arguments: its class is needed, none of its code is run
        b"ccopyreg\n_reconstructor\n(cmine\nThing\ncbuiltins\nobject\nNtR",
        b"ctorch.return_types\nmax\n(K\x01K\x02t\x85\x81",
    ],
)
def test_an_object_of_a_class_is_code_and_not_unsafe(made: bytes) -> None:
    ledger = Ledger()
    Machine(b"\x80\x03" + made + b".", ledger, lambda key: key).run()
    assert "code" in {i.danger for i in ledger.imports()} and not ledger.unsafe


def test_keys_of_half_characters_stay_apart() -> None:
    halves = b"\x80\x03}(X\x04\0\0\0w\xed\xa0\x80K\x01X\x04\0\0\0w\xed\xa0\x81K\x02u."
    lines = b"}(Vw\\ud800\nI1\nVw\\ud801\nI2\nu."
    for program in (halves, lines):
        mapping = Machine(program, Ledger(), lambda key: key).run()
        assert mapping.named == {"w\\ud800": 1, "w\\ud801": 2}
