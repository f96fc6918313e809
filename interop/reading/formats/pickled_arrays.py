"""A bare pickle's numpy arrays -> tensors, where it holds no others, as Detectron's files do.

Only where there are no tensors of torch's: beside those, arrays are records and no weights.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from interop.facts import DTYPE_BITS, Storage
from interop.reading.formats.numpy_archive import DTYPES, little_endian
from interop.reading.pickle.records import Array, Blob, Node, StorageRef, Tensor


class PickledArrays:
    """The arrays of one pickle, numbered in the order in which they are asked for.

    `place` turns a position in the pickle into one in the file.
    """

    def __init__(self, path: str, place: Callable[[int], int]) -> None:
        self._path = path
        self._place = place
        self._found: list[Array] = []

    def tensor(self, node: Node) -> Tensor | None:
        """An array of numbers with one axis or more as a tensor; None for anything else."""
        if type(node) is not Array or not node.shape:
            return None
        dtype = DTYPES.get(node.code[1:])
        size = node.data.size if type(node.data) is Blob else len(node.data or b"")
        if dtype is None or type(node.data) is list:
            return None
        if (nbytes := prod(node.shape) * DTYPE_BITS[dtype] // 8) != size:
            return None
        self._found.append(node)
        ref = StorageRef(str(len(self._found) - 1), dtype, nbytes, "cpu")
        return Tensor(dtype, node.shape, ref, 0, _stride(node) if node.fortran else None)

    def locate(self, ref: StorageRef) -> Storage:
        """Where its bytes lie: -1 where the pickle spells them as text, or big-endian."""
        array = self._found[int(ref.key)]
        plain = type(array.data) is Blob and array.code[:1] != ">"
        offset = self._place(array.data.start) if plain else -1
        return Storage(self._path, ref.key, offset, ref.nbytes)

    def bytes_of(self, key: str) -> bytes:
        """An array's numbers, little-endian."""
        array = self._found[int(key)]
        data = array.data.bytes() if type(array.data) is Blob else bytes(array.data)
        return little_endian(data, array.code)


def _stride(array: Array) -> tuple[int, ...]:
    """Columns first."""
    steps, step = [], 1
    assert array.shape is not None
    for axis in array.shape:
        steps.append(step)
        step *= axis
    return tuple(steps)
