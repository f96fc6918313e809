"""The pickle machine against Python's own unpicklers, and against pickletools.

The unpicklers run in this very process: all that they can call is the `probe` of
tests/reading/unpickle_child.py and a few harmless classes.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import sys
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from fixtures import hostile
from interop.errors import ReadError
from interop.facts import Danger
from interop.reading.pickle.imports import Ledger
from interop.reading.pickle.machine import Machine
from interop.reading.pickle.records import Broken, OverLimit
from tests.fuzz.guided import mutators as m
from tests.fuzz.guided.target import Finding, Target
from tests.fuzz.guided.watch import bounded
from tests.fuzz.seeds import CORPUS
from tests.reading import unpickle_child as child

# What loads numpy or torch is left to tests/reading/test_opcodes.py: theirs can crash the process.
_HERE = frozenset(module for module in child.ALLOWED if module.split(".")[0] not in
                  ("numpy", "torch"))  # fmt: skip
# Names of the probe that run code only when they are called by name: a call of them is unsafe.
_PLAIN = frozenset({"hit", "Thing"})
_PLACES = 1 << 16  # of the memo: the unpickler in C makes an array of them
_NESTED = 20  # tuples: with the same one twice in each, their hash takes for ever

_asked: set[str] = set()


def _named(module: str, name: str) -> object:
    if module == "probe":
        _asked.add(name)
    elif module not in _HERE:
        raise pickle.UnpicklingError(f"{module}.{name} is not for this test")
    return child._named(module, name)


class _InC(child._InC):
    def find_class(self, module: str, name: str) -> object:
        return _named(module, name)


class _InPython(child._InPython):
    find_class = _InC.find_class


def _costly(program: bytes) -> bool:
    """Whether an unpickler could take very much memory or time."""
    instructions = m.opcodes(program)[0]
    if sum(one in (b"\x86", b"\x87", b"t") for one in instructions) > _NESTED:
        return True
    for one in instructions:
        code, argument = one[:1], one[1:]
        if code in b"rj" and int.from_bytes(argument, "little") > _PLACES:
            return True
        if code in b"pg" and len(argument) > 6:
            return True
    return re.search(rb"[\x8d\x8e\x96].{4}[^\0]", program, re.S) is not None


def _said(program: bytes) -> tuple[Danger | None, str]:
    """The worst that the machine tells of, and why it stopped early, if it did."""
    ledger, stopped = Ledger(), ""
    try:
        Machine(program, ledger, lambda key: key).run()
    except OverLimit as error:
        stopped = f"limit: {error}"
    except (Broken, ReadError, RecursionError) as error:
        stopped = f"{type(error).__name__}: {error}"
    dangers = {one.danger for one in ledger.imports()}
    return next((d for d in (Danger.UNSAFE, Danger.CODE) if d in dangers), None), stopped


@cache
def _listen() -> None:
    """Have the probe's events counted: once, since nobody can take such a hook away again."""
    child.watching = False  # type: ignore[attr-defined]
    sys.addaudithook(child._hook)


def differential(folder: Path) -> Callable[[bytes], None]:
    _listen()

    def run(program: bytes) -> None:
        if _costly(program):
            return
        with bounded():
            danger, stopped = _said(program)
        if danger is Danger.UNSAFE or stopped.startswith("limit"):
            return  # beyond a limit, Python's own may take for ever
        _asked.clear()
        for kind in (_InC, _InPython):
            try:
                end = child.load(kind, program)
            except (MemoryError, RecursionError, SystemExit):
                continue
            if not end["called"]:
                continue
            if danger is None or _asked <= _PLAIN:
                how = "only-refused" if stopped else "not-told"
                raise Finding(
                    f"{how}-{'nothing' if danger is None else 'code'}",
                    f"{kind.__name__} called {sorted(_asked)}; the machine: {danger}, {stopped}; "
                    f"{program!r}",
                )

    return run


def _programs() -> Iterable[bytes]:
    from tests.reading.test_opcodes import P4, ROWS

    for rows in ROWS.values():
        for _, program in rows.values():
            yield P4 + program + b"."
    for one in m.PROBES:
        yield P4 + one + b"."
        yield P4 + one + b")R."
    yield from _streams()


def _streams() -> Iterable[bytes]:
    for path in sorted(CORPUS.glob("protocol*")) + sorted(CORPUS.glob("*.pkl")):
        data = path.read_bytes()
        if data[:1] in (b"\x80", b"(", b"}"):
            yield data
    for one in hostile.HOSTILE:
        if isinstance(one.content, bytes) and one.content[:1] == b"\x80":
            yield one.content[:4096]


# ---------------------------------------------------------------- pickletools

# What pickletools refuses and unpicklers take: it decodes arguments as they do not.
_STRICTER = (
    "codec can't decode", "no newline found", "invalid literal for int", "quote", "negative byte",
    "expected", "not enough data", "could not convert", "exceeds the limit", "string",
)  # fmt: skip


def decoding(folder: Path) -> Callable[[bytes], None]:
    def run(program: bytes) -> None:
        machine = Machine(program, Ledger(), lambda key: key, inline=False)
        stopped: Exception | None = None
        with bounded():
            try:
                machine.run()
            except (Broken, ReadError) as error:
                stopped = error
        at, failure = 0, ""
        last = ""
        try:
            for one, _, position in pickletools.genops(program):
                at, last = position or 0, one.code
        except (ValueError, OverflowError, IndexError) as error:
            failure = str(error)
        if stopped is None:
            if failure and not any(word in failure for word in _STRICTER):
                raise Finding("machine-takes", f"pickletools: {failure}; {program!r}")
            if not failure and (last != "." or at + 1 != machine.position):
                raise Finding("ends-differ", f"{machine.position} and {at + 1}; {program!r}")
            return
        unknown = re.fullmatch(r"byte (\d+) is no pickle opcode", str(stopped))
        # Of an instruction before it, pickletools may say that its argument is none.
        agreed = unknown is None or f"at position {unknown[1]}, opcode" in failure
        if not agreed and not any(word in failure for word in _STRICTER):
            raise Finding("no-opcode", f"{stopped}; pickletools: {failure}; {program!r}")

    return run


def targets() -> list[Target]:
    return [
        Target("pickle", differential, _programs, m.either((0.9, m.PROBED)), weight=4.0,
               memory=1 << 30),
        Target("pickle-opcodes", decoding, _programs, m.either((0.7, m.PROBED)), weight=0.5),
    ]  # fmt: skip
