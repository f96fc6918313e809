"""A bare pickle's numpy arrays -> tensors, where it holds no others, as Detectron's files do.

Only where there are no tensors of torch's: beside those, arrays are records and no weights.
"""

from __future__ import annotations

from math import prod

from interop.facts import DTYPE_BITS, Storage
from interop.reading.pickle.records import Array, Blob, Node, StorageRef, Tensor

DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16",
    "i1": "int8", "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool",
    "c8": "complex64", "c16": "complex128",
}  # fmt: skip


class PickledArrays:
    """The arrays of one pickle, numbered in the order in which they are asked for.

    The pickle's positions count from byte `base` of the file, or, where it is `packed`, from the
    beginning of what the entry `key` unfolds to.
    """

    def __init__(self, path: str, base: int, key: str = "", packed: bool = False) -> None:
        self._path = path
        self._base = base
        self._key = key
        self._packed = packed
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
        plain = type(array.data) is Blob and array.code[:1] != ">" and not self._packed
        offset = self._base + array.data.start if plain else -1
        return Storage(self._path, f"{self._key}\0{ref.key}", offset, ref.nbytes)

    def bytes_of(self, number: str) -> bytes:
        """An array's numbers, little-endian."""
        array = self._found[int(number)]
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


def little_endian(numbers: bytes, code: str) -> bytes:
    """Numbers of a numpy type (">f4"), big-endian ones turned round; a complex one is two."""
    kind, width = code[1:2], int(code[2:])
    width //= 2 if kind == "c" else 1
    if code[:1] != ">" or width < 2:
        return numbers
    turned = bytearray(len(numbers))
    for byte in range(width):
        turned[byte::width] = numbers[width - 1 - byte :: width]
    return bytes(turned)
