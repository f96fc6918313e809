"""What reading one file may cost: work and memory, charged by every reader for what it does.

A count of entries, opcodes or nodes says little of what they cost. So each reader knows the price
of its own steps, and one purse pays for all of a file, whatever lies within it.
"""

from __future__ import annotations

from interop.errors import ReadError
from interop.reading.bytes.address import over_limit

WORK = 720_000_000  # nanoseconds of one core of an ordinary machine
MEMORY = 155_000_000  # bytes
SIZE = 50 << 20  # a file of more bytes than that has as many times more to spend
# What a tensor with bytes of its own brings with it: nobody makes those for nothing, and a
# library's file with very many of them must be read.
_TENSOR_WORK, _TENSOR_MEMORY = 25_000, 3_000


class Budget:
    """What is left of it for one file of `size` bytes.

    `work` and `memory` may be counted down directly where a call would cost more than the step
    that it pays for; the next `spend` refuses then.
    """

    __slots__ = ("memory", "path", "size", "work")

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self.work = WORK * max(size, SIZE) // SIZE
        self.memory = MEMORY * max(size, SIZE) // SIZE

    def spend(self, work: int, memory: int = 0) -> None:
        """Pay for a step; ReadError, "pickle-over-limit", where that is more than is left."""
        self.work -= work
        self.memory -= memory
        if self.work < 0 or self.memory < 0:
            raise self.exceeded()

    def earn(self, tensors: int = 1) -> None:
        """So many tensors were found that have bytes of their own in the file."""
        self.work += tensors * _TENSOR_WORK
        self.memory += tensors * _TENSOR_MEMORY

    def exceeded(self) -> ReadError:
        """The refusal, with the figure that was reached."""
        times = max(self.size, SIZE) / SIZE
        most = f"{WORK * times / 1e9:.1f} s of processor time"
        if self.work >= 0:
            most = f"{MEMORY * times / 1e6:,.0f} MB of memory"
        size = f"{self.size / 1e6:.3g} MB"
        return over_limit(
            self.path, f"reading it takes more than {most}, the limit for a file of {size}"
        )
