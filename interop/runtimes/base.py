"""The interface that every way of running a model has: host arrays in, host arrays out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from numpy.typing import NDArray

from interop.errors import ConfigError
from interop.facts import Json

Array = NDArray[Any]
# One array for a model of one input, else one for each input by its name, in the forward's order.
Batch = Array | Mapping[str, Array]
DEVICES = ("cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Bound:
    """One batch to be run again and again, a call of `run` each.

    Of `Runtime.bind` it computes on the batch where it lies, leaves the outputs where they are and
    returns when they are done: what it takes less than that of `Runtime.ready` is the copies.
    """

    run: Callable[[], object]


class Runtime(ABC):
    """A model ready to run on one device. Use as a context manager: leaving it frees the model.

    `name` is the library's with what sets this way of running apart from its others ("pytorch",
    "pytorch compile bfloat16", "onnxruntime io-binding"), `device` "cpu" or "cuda". Batches and
    outputs lie in host memory, and a call returns when the outputs are there: what it takes is the
    whole way.
    """

    name: str
    device: str

    def run(self, batch: Batch) -> Array:
        """The model's first output for `batch` (n, ...), of shape (n, ...); see `outputs`."""
        return self.outputs(batch)[0]

    @abstractmethod
    def outputs(self, batch: Batch) -> tuple[Array, ...]:
        """All outputs that are tensors, in order; those of any float type come as float32.

        Floating-point arrays are cast to the type that the model takes.
        """

    def bind(self, batch: Batch) -> Bound:
        """`batch` put where the device wants it, to be run from there again and again.

        In host memory it lies there already: then a run is that of `outputs`.
        """
        return Bound(lambda: self.outputs(batch))

    def clock(self) -> Callable[[], float] | None:
        """Starts a clock on the device, between whose start and end lies what runs meanwhile.

        What comes back stops it and gives milliseconds; None where the device has none (the CPU).
        """
        return None

    def ready(self, batch: Batch) -> Bound:
        """`batch` to be run again and again from host memory, where the outputs come back to.

        Its `run` takes the same way as `outputs` (casts and copies are made anew each time), less
        what need not be done again: looking inputs up, sorting outputs, sending what a module
        prints to stderr, which is left to the caller.
        """
        return Bound(lambda: self.outputs(batch))

    @abstractmethod
    def conditions(self) -> dict[str, Json]:
        """What a reader must know to judge a figure: versions and, under these keys, "device",
        "dtype", "tf32" (whether it is on) and "threads"."""

    @abstractmethod
    def close(self) -> None:
        """Frees the model and puts back what was set for it; a second call does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_device(device: str) -> None:
    """ConfigError for a device that no runtime here knows."""
    if device not in DEVICES:
        what = f"{device!r} is no device"
        raise ConfigError(what, where="--device", fix=f"give one of {', '.join(DEVICES)}")
