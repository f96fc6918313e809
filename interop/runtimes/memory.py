"""Memory that is not needed just now -> the system's again, where something would keep it."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

LARGE = 200_000_000  # bytes of weights, from which on a module lets go of what it has used
_AT_ONCE = 1 << 26
_PAGEMAP, _ENTRY = Path("/proc/self/pagemap"), 8  # bytes a page
# What the kernel says of a page: it is there, it is swapped out, it belongs to a file.
_PRESENT, _SWAPPED, _OF_FILE = (np.uint64(1 << bit) for bit in (63, 62, 61))


def give_back() -> None:
    """glibc keeps what is freed, and one model's worth piles up on the next; elsewhere, nothing."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def let_go(tensors: Iterable[Tensor]) -> None:
    """Pages of a mapped file go out of this process's memory, and come back when they are read.

    Of a tensor with a single page of its own, one that was written to, all stay. Linux alone tells
    them apart; elsewhere, nothing.
    """
    if sys.platform == "linux":
        with (
            contextlib.suppress(OSError, AttributeError),
            _PAGEMAP.open("rb", buffering=0) as pages,
        ):
            for tensor in tensors:
                storage = tensor.untyped_storage()
                _drop(storage.data_ptr(), storage.nbytes(), pages)


def _drop(address: int, size: int, pages: Any) -> None:
    page = mmap.PAGESIZE
    first, end = -(-address // page), (address + size) // page
    if end <= first:
        return
    pages.seek(first * _ENTRY)
    entries = np.frombuffer(pages.read((end - first) * _ENTRY), np.uint64)
    there = entries[(entries & (_PRESENT | _SWAPPED)) != 0]
    if (
        len(entries) == end - first
        and len(there)
        and ((there & (_OF_FILE | _SWAPPED)) == _OF_FILE).all()
    ):
        madvise = ctypes.CDLL(None).madvise
        madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        madvise(first * page, (end - first) * page, mmap.MADV_DONTNEED)


@contextlib.contextmanager
def sparing(module: nn.Module) -> Iterator[None]:
    """Within it, each part of a large module lets go of its weights behind its run."""
    if size_of(module) < LARGE:
        yield
        return
    handles = [
        part.register_forward_hook(
            lambda part, given, output: let_go(part.parameters()), always_call=True
        )
        for part in parts(module)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        let_go(module.parameters())


def size_of(module: nn.Module) -> int:
    """The bytes of a module's parameters."""
    return sum(p.nbytes for p in module.parameters())


def parts(module: nn.Module) -> Iterator[nn.Module]:
    """The largest parts of a module that have at most 64 MiB, or no parts of their own."""
    children = list(module.children())
    if size_of(module) <= _AT_ONCE or not children:
        yield module
        return
    for child in children:
        yield from parts(child)
