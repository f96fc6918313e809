"""What a target is, and what it raises."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

# (data, most bytes) -> changed data: libFuzzer's own mutation, or that of `plain_mutation`.
Base = Callable[[bytes, int], bytes]
Mutate = Callable[[bytes, random.Random, Base, int], bytes]


class Finding(AssertionError):
    """Something that must hold does not. `sign` is short, and the same for the same fault."""

    def __init__(self, sign: str, text: str = "") -> None:
        super().__init__(f"{sign}: {text}" if text else sign)
        self.sign = sign


class Target(NamedTuple):
    """One way of running interop on bytes.

    `make` gets a folder of the target's own and gives the function that is run; what it does is
    not watched. `seeds` gives whole inputs. `mutate` knows the form of the input. `weight` is the
    share of the time; `needs` are packages without which there is no target.
    """

    name: str
    make: Callable[[Path], Callable[[bytes], None]]
    seeds: Callable[[], Iterable[bytes]]
    mutate: Mutate | None = None
    weight: float = 1.0
    runs: int = 300  # in the smoke test
    needs: tuple[str, ...] = ()
    memory: int = 0  # bytes of address space beside what the process has; 0 for no limit
