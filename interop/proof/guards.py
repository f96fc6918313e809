"""A trace of torch.export -> the conditions on sizes under which its graph is the module's.

A branch on a shape leaves one side in the graph. torch.export notes the condition that led there
("min(height // 4, width // 4) > 4"); beyond it the module may be another one. The notes are kept in
a private attribute: where a version of torch has none, there are no guards, and sizes are searched.
"""

from __future__ import annotations

import contextlib
import math
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import torch

from interop.models.signature import Signature

# "L['given'][0].size()[2]": axis 2 of the first thing that the forward is given.
_SOURCE = re.compile(r"L\['\w+'\](?:\[(\d+)\])?\.size\(\)\[(\d+)\]")
# Where code lies that is no person's own: libraries, Python's, and interop's wherever it is.
_NOT_OWN = (
    *(sysconfig.get_path(kind) for kind in ("purelib", "platlib", "stdlib")),
    str(Path(__file__).parents[1]),
    "<",
)
SMALL_NUMBER = 512
_WORDS = {"torch": torch, "math": math, "min": min, "max": max, "abs": abs}

Sizes = Mapping[str, int]


class TooManyGuards(BaseException):
    """The trace went on noting conditions beyond the number that was allowed.

    Not an Exception: the exporter would catch that, and begin a longer trace of the same module.
    """


@dataclass(frozen=True, slots=True)
class Guard:
    """One condition on sizes. `text` has the names of the axes that it is about, in `axes`."""

    text: str
    axes: tuple[str, ...]
    holds: Callable[[Sizes], bool]

    @property
    def numbers(self) -> tuple[int, ...]:
        """The numbers that it names, next to which it may change."""
        return tuple(dict.fromkeys(int(n) for n in re.findall(r"\b\d+\b", self.text)))

    @property
    def steady(self) -> bool:
        """Whether it changes once at the most as sizes grow: what it says of two sizes it then
        says of all between them."""
        return not re.search(r"==|!=|%|\babs\b|\bnot\b", self.text)

    @property
    def passing(self) -> bool:
        """Whether it can fail at small sizes alone: a product or sum of sizes that passes one of
        its numbers, and is beyond it from there on."""
        plain = re.sub(r"\(-\d+\)(?!\*)", "", self.text)  # a constant is no difference of sizes
        grows = not re.search(r"%|-|\babs\b|\bnot\b", plain)
        return not self.steady and grows and max(self.numbers, default=0) <= SMALL_NUMBER


@dataclass(slots=True)
class Capture:
    """What torch.export was seen to give: the program, its guards as torch wrote them, which axes
    of which input it left open, and where the module read a size as text (`read_as_text`)."""

    program: Any = None
    texts: tuple[str, ...] | None = None
    open: frozenset[tuple[int, int]] = frozenset()
    read: list[str] = field(default_factory=list)

    def of(self, signature: Signature) -> tuple[Guard, ...] | None:
        """The guards; None if they are not known or cannot be all, or the trace held an axis that
        has a name: it then notes nothing of that axis."""
        named = {
            (i, j)
            for i, argument in enumerate(signature.arguments)
            for j, axis in enumerate(argument.axes)
            if isinstance(axis, str)
        }
        if self.texts is None or self.read or not named <= self.open:
            return None
        return parsed(self.texts, signature)


@contextlib.contextmanager
def captured(budget: int | None = None) -> Iterator[Capture]:
    """Within it, what torch.export gives is kept, with guards.

    The ONNX exporter asks torch.export to turn guards into assertions, which it then drops; here
    they stay guards. `budget` is the number of guards at which the trace is given up. Raises
    TooManyGuards.
    """
    seen = Capture()
    real = torch.export.export

    def export(*args: Any, **given: Any) -> Any:
        seen.program = real(*args, **given)
        texts = getattr(seen.program, "_guards_code", None)
        ranges, seen.open = _ranges(seen.program)
        seen.texts = None if texts is None else (*dict.fromkeys(texts), *ranges)
        return seen.program

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(torch.export, "export", export))
        stack.enter_context(read_as_text(seen.read))
        with contextlib.suppress(ImportError, AttributeError):
            from torch.onnx import _flags

            name = "PREFER_DEFERRED_RUNTIME_ASSERTS_OVER_GUARDS"
            stack.enter_context(mock.patch.object(_flags, name, False))
        if budget is not None:
            with contextlib.suppress(ImportError, AttributeError):
                stack.enter_context(_limited(budget))
        yield seen


def is_own(path: str) -> bool:
    """Whether code of this file is a person's own, and no library's."""
    return not path.startswith(_NOT_OWN)


@contextlib.contextmanager
def read_as_text(places: list[str]) -> Iterator[None]:
    """Within it, a place ("file:line") of a person's own code where a traced size becomes text, or
    a key, is added: what is decided by that leaves no guard and no warning.

    Libraries put sizes into messages, and are not asked.
    """

    def watched(original: Callable[..., Any], size: Callable[[Any], bool]) -> Callable[..., Any]:
        def call(value: Any, *args: Any, **named: Any) -> Any:
            frame = sys._getframe(1)
            path = frame.f_code.co_filename
            if size(value) and is_own(path):
                places.append(f"{Path(path).name}:{frame.f_lineno}")
            return original(value, *args, **named)

        return call

    def scalar(value: torch.Tensor) -> bool:  # what an older trace gives for a size
        tracing = torch._C._get_tracing_state() is not None  # type: ignore[attr-defined]
        return tracing and value.dim() == 0 and value.dtype == torch.int64

    with contextlib.ExitStack() as stack:
        for kind, names, size in (
            (torch.SymInt, ("__repr__",), lambda value: True),
            (torch.Tensor, ("__repr__", "__format__", "__hash__"), scalar),
        ):
            for name in names:
                instead = watched(getattr(kind, name), size)
                stack.enter_context(mock.patch.object(kind, name, instead))
        yield


def parsed(texts: tuple[str, ...], signature: Signature) -> tuple[Guard, ...]:
    """The guards on the named axes of the inputs; those that cannot be otherwise are left out.

    A name stands for one size wherever it occurs, so that "all batches are equal" says nothing.
    """
    guards: dict[str, Guard] = {}
    for text in texts:
        axes: dict[str, None] = {}

        def named(match: re.Match[str], axes: dict[str, None] = axes) -> str:
            axis = signature.arguments[int(match[1] or 0)].axes[int(match[2])]
            if isinstance(axis, str):
                axes[axis] = None
            return f"s[{axis!r}]" if isinstance(axis, str) else str(axis)

        with contextlib.suppress(IndexError, SyntaxError):
            code = _SOURCE.sub(named, text)
            if "L[" in code or not axes:
                continue
            # torch's own printer wrote it, of sizes and arithmetic; the names in it are quoted.
            test = eval(f"lambda s: bool({code})", dict(_WORDS))  # noqa: S307
            plain = re.sub(r"s\['(\w+)'\]", r"\1", code).replace("torch.sym_", "")
            guards[plain] = Guard(plain, tuple(axes), test)
    return tuple(g for g in guards.values() if _can_fail(g))


def fails(guard: Guard, sizes: Sizes) -> bool:
    """Whether a condition does not hold; one that cannot be computed at all does not."""
    try:
        return not guard.holds(sizes)
    except (ArithmeticError, AttributeError, NameError, TypeError, ValueError):
        return True


def _can_fail(guard: Guard) -> bool:
    """Whether sizes are easily found at which it does not hold; most are about empty tensors."""
    far = (1000, 4095, 10_007, 1 << 17, 10**6, 1 << 40)
    near = {n + d for n in guard.numbers for d in (-1, 0, 1) if n + d > 0}
    tried = (1, 2, 3, 4, 5, 7, 8, 13, 16, 31, 33, 64, 100, 257, *far, *sorted(near)[:32])
    if len(guard.axes) == 1:
        return any(fails(guard, {guard.axes[0]: n}) for n in (*range(1, 4097), *tried))
    small = tried if len(guard.axes) == 2 else (1, 2, 5, 16, 33, 257)
    if not guard.steady:  # it may fail at a few products or sums of sizes alone
        most = 256 if len(guard.axes) == 2 else 48
        small = tuple(dict.fromkeys((*small, *_parts(guard.numbers), *range(1, most))))[:most]
    rows: list[dict[str, int]] = [{}]
    for axis in guard.axes:
        rows = [{**row, axis: n} for row in rows for n in small]
        if len(rows) > 200_000:
            break
    return any(fails(guard, {**dict.fromkeys(guard.axes, 1), **row}) for row in rows)


def _parts(numbers: tuple[int, ...]) -> list[int]:
    """Sizes whose products or sums may be one of these numbers."""
    sizes: list[int] = []
    for number in numbers:
        if 1 < number < 1 << 20:
            divisors = [n for n in range(1, math.isqrt(number) + 1) if number % n == 0]
            sizes += [*divisors, *(number // n for n in divisors)]
            sizes += [number - n for n in (1, 2, 3) if number > n]
    return sorted(dict.fromkeys(sizes), key=lambda n: abs(n - 16))


def _ranges(program: Any) -> tuple[list[str], frozenset[tuple[int, int]]]:
    """The ranges of the inputs' sizes, written as guards are, and the axes that are open."""
    texts, axes = [], set()
    ranges = {str(k): v for k, v in getattr(program, "range_constraints", {}).items()}
    given = set(getattr(getattr(program, "graph_signature", None), "user_inputs", ()))
    taken = [n for n in program.graph.nodes if n.op == "placeholder" and n.name in given]
    for place, node in enumerate(taken):
        for axis, size in enumerate(getattr(node.meta.get("val"), "shape", ())):
            if isinstance(size, torch.SymInt):
                axes.add((place, axis))
            known = ranges.get(str(size))
            source = f"L['given'][{place}].size()[{axis}]"
            for bound, sign in ((_whole(known, "lower"), ">="), (_whole(known, "upper"), "<=")):
                if bound is not None and (sign == "<=" or bound > 1):
                    texts.append(f"{source} {sign} {bound}")
    return texts, frozenset(axes)


def _whole(known: Any, side: str) -> int | None:
    try:
        return int(getattr(known, side))
    except (TypeError, ValueError, OverflowError, AttributeError):  # no bound
        return None


@contextlib.contextmanager
def _limited(budget: int) -> Iterator[None]:
    """Within it, a trace that has noted more guards than that is ended."""
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    whole = ShapeEnv.evaluate_expr

    def evaluate(self: Any, *args: Any, **given: Any) -> Any:
        if len(self.guards) > budget:
            raise TooManyGuards(f"more than {budget} conditions on its sizes")
        return whole(self, *args, **given)

    with mock.patch.object(ShapeEnv, "evaluate_expr", evaluate):
        yield
