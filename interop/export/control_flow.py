"""A module and an example -> where its Python code decides on the input's values.

A trace keeps the one way that it saw, and no number of other inputs rules the other way out. What
Python learns of a shape is not meant: shapes are the same for every input that a graph takes, or
are tried by parity.
"""

from __future__ import annotations

import contextlib
import dis
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any
from unittest import mock

import torch
from torch import nn
from torch.utils import _pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from interop.export.attention import without_fast_path
from interop.proof.guards import is_own

# What hands a tensor's numbers to Python without passing torch's dispatcher.
_HANDS_OUT = ("tolist", "numpy", "__array__")
_TORCH = str(Path(torch.__file__).parent)
_INNER = (f"{_TORCH}/_", str(Path(_TORCH, "utils", "_python_dispatch.py")))
# torch's own code of packed sequences reads lengths as numbers; ONNX's LSTM takes them as they are.
_PACKING = tuple(
    str(Path(_TORCH, "nn", *place)) for place in (("utils", "rnn.py"), ("modules", "rnn.py"))
)


@dataclass(frozen=True, slots=True)
class Decisions:
    """The `places` of decisions. `packs` says that torch's own code of packed sequences took some:
    an exporter writes that with the lengths as they come, which other values then have to prove."""

    places: tuple[str, ...] = ()
    packs: bool = False


def decisions(module: nn.Module, example: Sequence[torch.Tensor]) -> Decisions:
    """The places ("file:line") where numbers computed from the input become Python's, and those
    where an error of torch's own was raised and caught: of that, too, a trace keeps one way, and
    torch's older exporter crashes on it.

    Found by one native run: every tensor computed from the input is followed, weights and buffers
    are not. Raises whatever the module raises.
    """
    watch = _Watch(example)
    out = contextlib.redirect_stdout(sys.stderr)  # what a person's module prints is no report
    with torch.no_grad(), out, without_fast_path(), _handing_out(watch), watch:
        module(*example)
    return Decisions(tuple(dict.fromkeys(watch.places)), watch.packs)


def catches(module: nn.Module, example: Sequence[torch.Tensor]) -> tuple[str, ...]:
    """The functions ("file:line") of a person's own code that the module runs and that catch
    errors: at another size they may go another way, and an older trace says nothing of it."""
    codes: dict[Any, None] = {}

    def called(frame: FrameType, event: str, _arg: object) -> None:
        if event == "call" and is_own(frame.f_code.co_filename):
            codes[frame.f_code] = None

    before = sys.getprofile()
    out = contextlib.redirect_stdout(sys.stderr)
    with torch.no_grad(), out:
        sys.setprofile(called)
        try:
            module(*example)
        finally:
            sys.setprofile(before)
    return tuple(
        f"{Path(code.co_filename).name}:{code.co_firstlineno}"
        for code in codes
        # `try` and `with` alike: contextlib.suppress catches errors too.
        if any(step.opname == "PUSH_EXC_INFO" for step in dis.get_instructions(code))
    )


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows what is computed from some tensors."""

    def __init__(self, sources: Sequence[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.places: list[str] = []
        self.packs = False
        self._derived: Any = WeakTensorKeyDictionary()
        for source in sources:
            self._derived[source] = True

    def is_derived(self, value: Any) -> bool:
        return isinstance(value, torch.Tensor) and value in self._derived

    def note(self, *, raised: bool = False) -> None:
        frame = sys._getframe(2)
        if not raised and _caller(frame).startswith(_PACKING):
            self.packs = True
        else:
            self.places.append(_place(frame))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        try:
            result = func(*args, **(kwargs or {}))
        except Exception:
            self.note(raised=True)  # where nothing catches it, there are no places to speak of
            raise
        if any(self.is_derived(leaf) for leaf in _pytree.tree_leaves((args, kwargs))):
            for leaf in _pytree.tree_leaves(result):
                if isinstance(leaf, torch.Tensor):
                    self._derived[leaf] = True
                elif isinstance(leaf, bool | int | float | complex):
                    self.note()
        return result


@contextlib.contextmanager
def _handing_out(watch: _Watch) -> Iterator[None]:
    def watched(original: Any) -> Any:
        def call(tensor: torch.Tensor, *args: Any, **options: Any) -> Any:
            if watch.is_derived(tensor):
                watch.note()
            return original(tensor, *args, **options)

        return call

    instead = {name: watched(getattr(torch.Tensor, name)) for name in _HANDS_OUT}
    with mock.patch.multiple(torch.Tensor, **instead):
        yield


def _caller(frame: FrameType | None) -> str:
    """The file of the innermost line that is neither this module's nor of torch's inner workings,
    by which every call of an operator goes."""
    while frame is not None and frame.f_code.co_filename.startswith((__file__, *_INNER)):
        frame = frame.f_back
    return frame.f_code.co_filename if frame else ""


def _place(frame: FrameType | None) -> str:
    """The innermost line that is not torch's."""
    while frame is not None and frame.f_code.co_filename.startswith((_TORCH, __file__)):
        frame = frame.f_back
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}" if frame else "torch"
