"""Tensors' places in files -> their values: what they range over, how two differ, or numpy arrays.

This module and `numbers` alone need numpy here. Files are mapped and passed over in blocks, by one
thread a processor, so memory stays bounded whatever the checkpoint's size.
"""

from __future__ import annotations

import hashlib
import math
import os
from binascii import crc32
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np

from interop.errors import ReadError
from interop.facts import DTYPE_BITS, Difference, Layout, Stats, Storage, TensorSpec
from interop.reading.archives import zip_archive
from interop.reading.archives.zip_archive import Entry
from interop.reading.bytes.address import over_limit, truncated
from interop.reading.bytes.source import Source
from interop.reading.pickle.state_dicts import extent
from interop.reading.values import dtypes
from interop.reading.values.dtypes import Array, Range

_BLOCK = 1 << 18  # elements looked at together: few calls, and they stay in the processor's cache
_TASK = 1 << 23  # elements that one thread takes at a time
_MOST_TOGETHER = 256  # tensors, or parts of one, that it takes at a time
# A tensor of broadcast axes may be larger than the file that holds it, but not without end.
_MAX_UNFOLDED = 1 << 33
_MAX_PIECES = 1 << 20
# Tensors may share storages, but not so that a small file takes for ever: bytes looked at, to those
# that are there.
_MOST_VIEWS, _VIEWS_FREE = 64, 1 << 30
INFLATED = 1 << 28  # bytes of inflated storages that are kept
_THREADS = min(8, os.cpu_count() or 1)

Pair = tuple[TensorSpec, TensorSpec | None]
Row = tuple[Pair, Stats | None, Stats | None, Difference | None]


def values(tensors: Sequence[TensorSpec]) -> Iterator[tuple[TensorSpec, Stats]]:
    """Each tensor with what its values range over, in the order given.

    Tensors whose values no file holds are left out. Raises ReadError where they cannot be had.
    """
    for (spec, _), stats, _, _ in compared([(t, None) for t in tensors]):
        if stats is not None:
            yield spec, stats


def compared(pairs: Iterable[Pair]) -> Iterator[Row]:
    """Each pair of tensors with the statistics of both, and how they differ, in the order given.

    One pass over both; the checksums of zip archives are held beside it. The two have the same
    shape; None stands in for what is not known: a second tensor that there is not, values that no
    file holds, layouts that are not alike. Raises ReadError where the values cannot be had.
    """
    files = Files()
    sums = _Sums()
    waiting: deque[tuple[Pair, list[_Work], list[_Share]]] = deque()
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            batch, nbytes = _Batch(pool), 0
            for pair in pairs:
                work = list(_work(files, *pair))
                shares = []
                for one in work:
                    if batch.is_closed:
                        batch = batch.next()
                    shares.append(batch.add(one))
                waiting.append((pair, work, shares))
                nbytes += _unpacked_bytes(pair)
                while len(waiting) > 4 * _MOST_TOGETHER or (nbytes > INFLATED and waiting):
                    nbytes -= _unpacked_bytes(waiting[0][0])
                    yield _finished(sums, *waiting.popleft())
            while waiting:
                yield _finished(sums, *waiting.popleft())
            sums.hold(pool, files.archives)
        finally:
            pool.shutdown(cancel_futures=True)


def _unpacked_bytes(pair: Pair) -> int:
    """Bytes of memory that a pair takes while it waits: of what lies compressed in its file."""
    places = (t.storage for t in pair if t is not None)
    return sum(place.nbytes for place in places if place is not None and place.offset < 0)


def array(spec: TensorSpec) -> Array:
    """The tensor's values, mapped from the file where they need no change (then read-only).

    bfloat16 and 8-bit floats come widened to float32, complex32 as complex64, quantized ones as
    their codes; packed 4-bit numbers as the bytes that hold them. Raises ReadError where no file
    holds the values as one array.
    """
    if spec.storage is None:
        raise ReadError(f"no file holds the values of {spec.name!r}", fix="materialise it first")
    seen = dtypes.resolved(spec.dtype, Files().view(spec), spec.conj, spec.neg)
    return dtypes.widened(spec.dtype, seen)


def digest(spec: TensorSpec) -> str:
    """The SHA-256 of the dense, row-major, little-endian bytes. Raises ReadError as `array`."""
    hasher = hashlib.sha256()
    if spec.storage is None:
        raise ReadError(f"no file holds the values of {spec.name!r}", fix="materialise it first")
    for (block,) in _blocks(Files().view(spec)):
        hasher.update(dtypes.resolved(spec.dtype, block, spec.conj, spec.neg).view("u1").data)
    return hasher.hexdigest()


# ---------------------------------------------------------------- bytes


class Files:
    """Views of tensors' elements, over mapped files and inflated storages."""

    def __init__(self) -> None:
        self.archives: set[str] = set()
        self._maps: dict[str, Array] = {}
        self._sources: dict[str, Source] = {}
        self._inflated: OrderedDict[Storage, Array] = OrderedDict()
        self._visited = 0
        self._distinct: dict[Storage, None] = {}
        self._bytes_there = 0

    def view(self, spec: TensorSpec) -> Array:
        """The elements as stored, with the tensor's shape and strides."""
        storage = spec.storage
        assert storage is not None
        self._count(spec)
        data = self._bytes(storage)
        if extent(spec) > len(data):
            raise truncated(storage.file, f"tensor {spec.name!r} reaches past its storage")
        if spec.nbytes > max(_MAX_UNFOLDED, 2 * storage.nbytes):
            raise over_limit(storage.file, f"tensor {spec.name!r} unfolds to {spec.nbytes:,} bytes")
        code = dtypes.STORED.get(spec.dtype, "u1")
        width = DTYPE_BITS[spec.dtype] // 8
        if width == 0:  # packed 4-bit numbers, or strings
            if spec.stride is not None or spec.offset:
                raise truncated(storage.file, f"tensor {spec.name!r} is a view of packed numbers")
            return data[: spec.nbytes]
        if spec.numel == 0:
            return np.empty(spec.shape, code)
        elements = data[spec.offset * width : extent(spec)].view(code)
        if spec.stride is None:
            return elements[: spec.numel].reshape(spec.shape)
        strides = tuple(step * width for step in spec.stride)
        return np.lib.stride_tricks.as_strided(elements, spec.shape, strides, writeable=False)

    def release(self, view: Array) -> None:
        """Let the system have back the pages behind a contiguous view: resident memory stays small
        while files of any size are gone over."""
        if (span := self._range(view)) is not None:
            span[0].release(*span[1:])

    def _range(self, view: Array) -> tuple[Source, int, int] | None:
        """Where in which file a contiguous view lies."""
        if not view.flags.c_contiguous or not view.nbytes:
            return None
        at = view.__array_interface__["data"][0]
        for path, whole in list(self._maps.items()):  # while another thread opens a next shard
            start = at - whole.__array_interface__["data"][0]
            if 0 <= start < whole.size:
                return self._sources[path], start, start + view.nbytes
        return None

    def _bytes(self, storage: Storage) -> Array:
        if storage.offset < 0:
            return self._unpacked(storage)
        if storage.nbytes == 0:
            return np.empty(0, "u1")
        if (data := self._maps.get(storage.file)) is None:
            source = self._sources[storage.file] = Source(storage.file)
            if source.data[:4] == b"PK\x03\x04":
                self.archives.add(storage.file)
            data = self._maps[storage.file] = np.frombuffer(source.data, "u1")  # type: ignore[call-overload]
        if storage.offset + storage.nbytes > len(data):
            raise truncated(storage.file, "is shorter than when it was read")
        return data[storage.offset : storage.offset + storage.nbytes]

    def _count(self, spec: TensorSpec) -> None:
        """Refuse a file of few bytes whose tensors are views of them without end."""
        if (storage := spec.storage) is None:
            return
        if storage not in self._distinct:
            self._distinct[storage] = None
            self._bytes_there += storage.nbytes
        self._visited += spec.nbytes
        if self._visited > _MOST_VIEWS * self._bytes_there + _VIEWS_FREE:
            what = f"its tensors are views of the same bytes, {self._visited:,} bytes in all so far"
            raise over_limit(storage.file, what)

    def _unpacked(self, storage: Storage) -> Array:
        if (content := self._inflated.pop(storage, None)) is None:
            from interop.reading.values.inflate import unpacked

            while self._inflated and sum(a.nbytes for a in self._inflated.values()) > INFLATED:
                self._inflated.popitem(last=False)
            content = np.frombuffer(unpacked(storage), "u1")
        self._inflated[storage] = content  # as the one that was used last
        return content


class _Sums:
    """The checksums of the archives that values were read from."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], tuple[int, int]] = {}

    def note(self, found: _Found) -> None:
        """Remember the sums that were made on the way."""
        self._seen.update(found.sums)

    def hold(self, pool: ThreadPoolExecutor, paths: Iterable[str]) -> None:
        """Raises ReadError, "zip-checksum-wrong", for the first entry whose sum is another."""
        with ExitStack() as opened:
            archives = {}
            for path in paths:
                # torch.distributed.checkpoint leaves a row of archives in one file, which is none.
                with suppress(ReadError):
                    archives[path] = opened.enter_context(zip_archive.opened(path))
            placed = {
                (path, archive.start(entry)): entry
                for path, archive in archives.items()
                for entry in archive.entries.values()
            }
            wanted = []
            for place, entry in placed.items():
                size, checksum = self._seen.get(place, (-1, 0))
                if size == entry.size == entry.packed:
                    archives[place[0]].hold(entry, checksum)
                else:
                    wanted.append((archives[place[0]], entry))
            # The largest first, so that no thread is left alone with one at the end.
            wanted.sort(key=lambda item: -item[1].size)
            shares = [wanted[n::_THREADS] for n in range(_THREADS)]
            for done in [pool.submit(_check_sums, share) for share in shares]:
                done.result()


# ---------------------------------------------------------------- which elements meet which


class _Piece(NamedTuple):
    """A box of a tensor: where it begins, its elements, and what makes numbers of their codes."""

    begin: tuple[int, ...]
    spec: TensorSpec
    view: Array
    scale: float = 1.0
    zero: float = 0.0


class _Work(NamedTuple):
    """One thread's share: the elements [start, stop) of two boxes of one shape, row by row."""

    files: Files
    x: _Piece
    y: _Piece | None
    flat: bool
    at: tuple[Any, ...]

    def storage(self, piece: _Piece | None) -> Storage | None:
        """The storage of one of the two, if it lies in an archive and all of it is in this work."""
        place = None if piece is None else piece.spec.storage
        if piece is None or place is None or not self.flat or place.file not in self.files.archives:
            return None
        whole = _part(piece.view, self.flat, self.at).nbytes == place.nbytes
        return place if whole and place.offset >= 0 and place.nbytes else None


def _work(files: Files, a: TensorSpec, b: TensorSpec | None) -> Iterator[_Work]:
    for one, other in _alike(a, b):
        left = _pieces(files, one)
        right = [None] if other is None else _pieces(files, other)
        if len(left) * len(right) > _MAX_PIECES:
            raise over_limit(str(a.name), "it is cut into too many pieces to compare")
        for x, y in product(left, right):
            for box in _met(x, y):
                views = [piece.view for piece in box if piece is not None]
                flat = all(view.flags.c_contiguous for view in views)
                for at in _cuts(views[0].shape, flat, _TASK):
                    yield _Work(files, *box, flat, at)


def _alike(a: TensorSpec, b: TensorSpec | None) -> Iterator[Pair]:
    """Two tensors, or their parts, wherever the two can be held against one another."""
    whole = (Layout.STRIDED, Layout.SHARDED)
    if b is not None and not (a.layout in whole and b.layout in whole):
        if (a.layout, _names(a)) != (b.layout, _names(b)):
            yield a, None
            return
        yield from zip(a.parts, b.parts, strict=True)
    elif a.layout in whole:
        yield a, b
    else:
        # Indices are no weights: what a sparse tensor ranges over is its values.
        named = [part for part in a.parts if part.name == "values"]
        yield from ((part, None) for part in named or a.parts)


def _names(spec: TensorSpec) -> list[tuple[str, tuple[int, ...]]]:
    return [(part.name, part.shape) for part in spec.parts]


def _pieces(files: Files, spec: TensorSpec) -> list[_Piece]:
    origin = (0,) * len(spec.shape)
    if spec.layout == Layout.SHARDED:
        return [
            _Piece(tuple(int(n) for n in part.name.split(",") if n), part, files.view(part))
            for part in spec.parts
            if part.storage is not None
        ]
    if spec.storage is None:
        return []
    view = files.view(spec)
    words = spec.quantizer.split()
    if words[:1] == ["per_channel_affine"] and len(spec.parts) == 2:
        axis = int(words[words.index("axis") + 1])
        scales, zeros = (files.view(part).reshape(-1).tolist() for part in spec.parts)
        if axis < len(spec.shape) and len(scales) == len(zeros) == spec.shape[axis]:
            boxes = [(slice(None),) * axis + (slice(c, c + 1),) for c in range(len(scales))]
            begins = [(*origin[:axis], c, *origin[axis + 1 :]) for c in range(len(scales))]
            rows = zip(begins, boxes, scales, zeros, strict=True)
            return [_Piece(at, spec, view[box], s, z) for at, box, s, z in rows]
    if words[:1] == ["per_tensor_affine"] and "scale" in words and "point" in words:
        scale = float(words[words.index("scale") + 1])
        return [_Piece(origin, spec, view, scale, float(words[words.index("point") + 1]))]
    return [_Piece(origin, spec, view)]


def _met(x: _Piece, y: _Piece | None) -> Iterator[tuple[_Piece, _Piece | None]]:
    """The part that two boxes have in common, as a box of each."""
    if y is None or (x.view.shape == y.view.shape and x.begin == y.begin):
        yield x, y
        return
    low = [max(p, q) for p, q in zip(x.begin, y.begin, strict=True)]
    ends = [[b + n for b, n in zip(p.begin, p.view.shape, strict=True)] for p in (x, y)]
    high = [min(p, q) for p, q in zip(*ends, strict=True)]
    if all(p < q for p, q in zip(low, high, strict=True)):
        x_cut, y_cut = (
            tuple(slice(p - b, q - b) for p, q, b in zip(low, high, piece.begin, strict=True))
            for piece in (x, y)
        )
        yield x._replace(view=x.view[x_cut]), y._replace(view=y.view[y_cut])


def _cuts(shape: tuple[int, ...], flat: bool, most: int) -> Iterator[tuple[Any, ...]]:
    """Indices that cut an array, in row-major order, into parts of at most `most` elements.

    `flat` tells that it is contiguous: it is then cut as one axis.
    """
    if (size := math.prod(shape)) == 0:
        return
    if flat or not shape:
        yield from ((slice(a, b),) for a, b in pairwise([*range(0, size, most), size]))
        return
    if (row := size // shape[0]) > most:
        for index in range(shape[0]):
            for rest in _cuts(shape[1:], False, most):
                yield (index, *rest)
        return
    step = max(1, most // row)
    for start in range(0, shape[0], step):
        yield (slice(start, min(start + step, shape[0])),)


def _part(view: Array, flat: bool, at: tuple[Any, ...]) -> Array:
    """What an index of `_cuts` stands for."""
    part: Array = view.reshape(-1)[at[0]] if flat else view[at]
    return part


def _blocks(*views: Array) -> Iterator[tuple[Array, ...]]:
    """Arrays of one shape, block by block, each block contiguous and of one axis."""
    flat = all(view.flags.c_contiguous for view in views)
    for at in _cuts(views[0].shape, flat, _BLOCK):
        yield tuple(np.ascontiguousarray(_part(view, flat, at)).reshape(-1) for view in views)


# ---------------------------------------------------------------- one thread's share


class _Seen:
    """What one tensor's values have been found to range over."""

    __slots__ = ("below", "count", "high", "inf", "low", "nan")

    def __init__(self) -> None:
        self.count = self.nan = self.inf = self.below = 0
        self.low: Any = None
        self.high: Any = None

    def add(self, count: int, other: Range | _Seen) -> None:
        self.count += count
        self.nan += other.nan
        self.inf += other.inf
        self.below += other.below
        if other.low is not None:
            first = self.low is None
            self.low = other.low if first else _ends(min, self.low, other.low)
            self.high = other.high if first else _ends(max, self.high, other.high)

    def stats(self) -> Stats:
        ordered = self.low is not None and not isinstance(self.low, tuple)
        constant = self.count > 1 and not self.nan + self.inf and self.low is not None
        return Stats(
            self.nan,
            self.inf,
            float(self.low) if ordered else None,
            float(self.high) if ordered else None,
            constant and bool(self.low == self.high),
            self.below,
        )


def _ends(choose: Any, p: Any, q: Any) -> Any:
    if isinstance(p, tuple):
        return tuple(choose(a, b) for a, b in zip(p, q, strict=True))
    return choose(p, q)


class _Found:
    """What a pass over (a part of) a pair of tensors found; blocks with the same bits on both sides
    are skipped."""

    __slots__ = (
        "cast", "dot", "finite", "largest", "skipped", "squares", "sums", "total", "unequal", "x",
        "y",
    )  # fmt: skip

    def __init__(self) -> None:
        self.x, self.y = _Seen(), _Seen()
        self.skipped = self.unequal = self.finite = 0
        self.cast: bool | None = True
        self.largest = self.total = self.dot = 0.0
        self.squares = [0.0, 0.0]
        # The sums of storages that were gone over as a whole: their sizes and CRC-32, by place.
        self.sums: dict[tuple[str, int], tuple[int, int]] = {}

    def add(self, other: _Found) -> None:
        self.x.add(other.x.count, other.x)
        self.y.add(other.y.count, other.y)
        self.skipped += other.skipped
        self.unequal += other.unequal
        self.finite += other.finite
        self.cast = self.cast and other.cast
        self.largest = max(self.largest, other.largest)
        self.total += other.total
        self.dot += other.dot
        self.squares = [p + q for p, q in zip(self.squares, other.squares, strict=True)]

    def meet(self, x: Array, y: Array) -> None:
        """Numbers that are held against one another: their differences and products."""
        with np.errstate(all="ignore"):
            apart = np.abs(x - y)
            if not np.isfinite(apart.max()):
                both = np.isfinite(x) & np.isfinite(y)
                x, y = x[both], y[both]
                apart = np.abs(x - y)
            products = self._products(x, y, apart)
            if not np.isfinite(products).all():  # too large for the squares of a float32
                kind = "<c16" if x.dtype.kind == "c" else "<f8"
                x, y = x.astype(kind), y.astype(kind)
                apart = np.abs(x - y)
                products = self._products(x, y, apart)
        self.finite += x.size
        self.largest = max(self.largest, float(apart.max(initial=0.0)))
        total, dot, *squares = products
        self.total += total
        self.dot += dot
        self.squares = [p + q for p, q in zip(self.squares, squares, strict=True)]

    @staticmethod
    def _products(x: Array, y: Array, apart: Array) -> list[float]:
        # numpy adds pairwise, so that a block's sum is good to a few units in the last place.
        products = (x * y.conj(), x * x.conj(), y * y.conj())
        return [float(apart.sum()), *(float(p.real.sum()) for p in products)]


def _check_sums(share: list[tuple[zip_archive.Archive, Entry]]) -> None:
    for archive, entry in share:
        archive.check_sum(entry)


class _Batch:
    """Work that one thread takes together: small tensors are many, and each hand-over costs."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._work: list[_Work] = []
        self._elements = 0
        self._future: Future[list[_Found]] | None = None

    def add(self, work: _Work) -> _Share:
        self._work.append(work)
        self._elements += math.prod(_part(work.x.view, work.flat, work.at).shape)
        return _Share(self, len(self._work) - 1)

    @property
    def is_closed(self) -> bool:
        full = self._elements >= _TASK or len(self._work) >= _MOST_TOGETHER
        return full or self._future is not None

    def next(self) -> _Batch:
        self.start()
        return _Batch(self._pool)

    def start(self) -> Future[list[_Found]]:
        if self._future is None:
            work = self._work
            self._future = self._pool.submit(lambda: [_measure(one) for one in work])
        return self._future


class _Share(NamedTuple):
    """A place in a batch; its result is there when the whole batch's is."""

    batch: _Batch
    place: int

    def result(self) -> _Found:
        return self.batch.start().result()[self.place]


def _measure(work: _Work) -> _Found:
    """One pass over a share of a pair."""
    tally = _Found()
    x = _part(work.x.view, work.flat, work.at)
    y = None if work.y is None else _part(work.y.view, work.flat, work.at)
    sums = _Pace(work)
    for blocks in _blocks(*(view for view in (x, y) if view is not None)):
        same = _look(tally, work.x, work.y, *blocks)
        sums.go_on(blocks, same)  # while they are in the processor's cache
    tally.sums = sums.found()
    for view in (x, y):
        if view is not None:
            work.files.release(view)
    return tally


class _Pace:
    """Keeps the sums of two storages in pace with the pass over them, where it goes over all."""

    def __init__(self, work: _Work) -> None:
        self._places = [work.storage(piece) for piece in (work.x, work.y)]
        self._sums = [0, 0]
        self._alike = self._places[0] is not None

    def go_on(self, blocks: Sequence[Array], same: bool) -> None:
        self._alike = self._alike and same
        for side, block in enumerate(blocks):
            if self._places[side] is not None:
                # Equal bytes so far have one sum.
                known = side == 1 and self._alike
                data = block.view("u1").data
                self._sums[side] = self._sums[0] if known else crc32(data, self._sums[side])

    def found(self) -> dict[tuple[str, int], tuple[int, int]]:
        return {
            (place.file, place.offset): (place.nbytes, total)
            for place, total in zip(self._places, self._sums, strict=True)
            if place is not None
        }


def _look(tally: _Found, x: _Piece, y: _Piece | None, left: Array, right: Any = None) -> bool:
    """Take in a block of each; tells whether their bytes are the same."""
    a, b = x.spec, None if y is None else y.spec
    left = dtypes.resolved(a.dtype, left, a.conj, a.neg)
    seen = _range(x, left)
    tally.x.add(left.size, seen)
    if y is None or b is None:
        return False
    right = dtypes.resolved(b.dtype, right, b.conj, b.neg)
    alike = (a.dtype, x.scale, x.zero) == (b.dtype, y.scale, y.zero)
    if alike and _same_bits(left, right):
        tally.y.add(left.size, seen)
        tally.skipped += left.size
        return (a.conj, a.neg) == (b.conj, b.neg)
    tally.y.add(right.size, _range(y, right))
    if not dtypes.is_measured(a.dtype) or not dtypes.is_measured(b.dtype):
        tally.unequal += left.size if left.size != right.size else int((left != right).sum())
        tally.cast = None
        return False
    p, q = _number(x, left), _number(y, right)
    unequal = _unlike(left, right) if alike else (p != q) & ~((p != p) & (q != q))
    tally.unequal += int(np.count_nonzero(unequal))
    rounded = None if alike else dtypes.cast(a.dtype, left, b.dtype)
    tally.cast = tally.cast and rounded is not None and _same_bits(rounded, right)
    tally.meet(p, q)
    return False


def _range(piece: _Piece, block: Array) -> Range:
    if not dtypes.is_measured(piece.spec.dtype):
        return Range(0, 0)
    bounds = dtypes.extremes(piece.spec.dtype, block)
    if (piece.scale, piece.zero) == (1.0, 0.0) or bounds.low is None:
        return bounds
    ends = sorted((end - piece.zero) * piece.scale for end in (bounds.low, bounds.high))
    return bounds._replace(low=ends[0], high=ends[1])


def _number(piece: _Piece, block: Array) -> Array:
    wide = dtypes.computable(piece.spec.dtype, block)
    if (piece.scale, piece.zero) == (1.0, 0.0):
        return wide
    return (wide - piece.zero) * piece.scale


def _same_bits(x: Array, y: Array) -> bool:
    # Eight bytes at once where both begin at a multiple of eight.
    places = (x.__array_interface__["data"][0], y.__array_interface__["data"][0])
    wide = x.nbytes % 8 == 0 and not any(place % 8 for place in places)
    kind = "<u8" if wide else "u1"
    return x.nbytes == y.nbytes and not (x.view(kind) != y.view(kind)).any()


def _unlike(x: Array, y: Array) -> Array:
    """Which elements differ in a bit."""
    width = min(x.itemsize, 8)
    differ: Array = x.view(f"<u{width}") != y.view(f"<u{width}")
    return differ if x.itemsize <= 8 else np.logical_or(differ[::2], differ[1::2])


def _finished(sums: _Sums, pair: Pair, works: list[_Work], parts: list[_Share]) -> Row:
    a, b = pair
    shares = [part.result() for part in parts]
    tally = _Found()
    for share in shares:
        tally.add(share)
        sums.note(share)
    x, y = _stats(a, tally.x), None if b is None else _stats(b, tally.y)
    if b is None or x is None or y is None:
        return pair, x, y, None
    if tally.unequal:
        for work, share in zip(works, shares, strict=True):
            if share.skipped:
                _add_skipped(tally, work)
    return pair, x, y, _difference(a, b, tally)


def _stats(spec: TensorSpec, seen: _Seen) -> Stats | None:
    return seen.stats() if seen.count or (spec.has_values and not spec.numel) else None


def _add_skipped(tally: _Found, work: _Work) -> None:
    """Equal elements count in mean and cosine too; while nothing differed they were not needed."""
    x, y = work.x, work.y
    assert y is not None
    parts = [_part(piece.view, work.flat, work.at) for piece in (x, y)]
    for left, right in _blocks(*parts):
        if dtypes.is_measured(x.spec.dtype) and _same_bits(
            dtypes.resolved(x.spec.dtype, left, x.spec.conj, x.spec.neg),
            dtypes.resolved(y.spec.dtype, right, y.spec.conj, y.spec.neg),
        ):
            p = _number(x, dtypes.resolved(x.spec.dtype, left, x.spec.conj, x.spec.neg))
            tally.meet(p, p)


def _difference(a: TensorSpec, b: TensorSpec, tally: _Found) -> Difference:
    like = (a.dtype, a.quantizer) == (b.dtype, b.quantizer)
    counted = bool(tally.finite) and bool(tally.unequal or not like)
    lengths = math.sqrt(tally.squares[0]) * math.sqrt(tally.squares[1])
    equal = like and not tally.unequal
    return Difference(
        equal=equal,
        cast=None if a.dtype == b.dtype else tally.cast,
        unequal=tally.unequal,
        largest=0.0 if equal else tally.largest if counted else None,
        mean=0.0 if equal else tally.total / tally.finite if counted else None,
        cosine=1.0 if equal else tally.dot / lengths if counted and lengths else None,
        scale=math.sqrt(tally.squares[0] / tally.finite) if tally.finite else 0.0,
    )
