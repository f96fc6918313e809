"""TensorSpecs -> torch tensors that lie where the file has them.

The bytes are mapped, not read: a page is fetched when a number in it is used, and writing to a
tensor changes the process's own copy, never the file.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

import torch

from interop.errors import ModelError, ReadError
from interop.facts import Storage, TensorSpec


def state_dict(tensors: Sequence[TensorSpec], where: str = "") -> dict[str, torch.Tensor]:
    """The tensors by name. Those whose storages are equal share memory, as they did when saved.

    `where` is the file that an error names. Raises ModelError for a tensor without bytes in a file
    or of a dtype that torch lacks, and ReadError where the file is no longer as it was read.
    """
    mapped = Mapped(where)
    return {spec.name: mapped.tensor(spec) for spec in tensors}


class Mapped:
    """Tensors one after the other; those whose storages are equal share memory."""

    def __init__(self, where: str = "") -> None:
        self._where = where
        self._files: dict[str, torch.UntypedStorage] = {}
        self._storages: dict[Storage, torch.UntypedStorage] = {}

    def tensor(self, spec: TensorSpec) -> torch.Tensor:
        """Raises what `state_dict` raises."""
        if spec.storage is None:
            what = f"{spec.name} has no values in the file (a meta or sparse tensor)"
            fix = "save the checkpoint from a model whose weights are dense and in memory"
            raise ModelError(what, where=self._where, fix=fix)
        if spec.storage not in self._storages:
            self._storages[spec.storage] = _storage(spec.storage, self._files)
        return _tensor(spec, self._storages[spec.storage], self._where)


class Fresh(Mapping[str, torch.Tensor]):
    """The tensors by name, each read when it is asked for and let go with its last reader.

    For a second look at what is mapped already: a whole second mapping would be resident twice.
    """

    def __init__(self, tensors: Sequence[TensorSpec]) -> None:
        self._specs = {spec.name: spec for spec in tensors}

    def __getitem__(self, name: str) -> torch.Tensor:
        return state_dict([self._specs[name]])[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)


def _storage(storage: Storage, files: dict[str, torch.UntypedStorage]) -> torch.UntypedStorage:
    if storage.offset < 0:
        return _inflated(storage)
    end = storage.offset + storage.nbytes
    if storage.file not in files:
        size = Path(storage.file).stat().st_size
        mapped = torch.UntypedStorage.from_file(storage.file, False, size)
        files[storage.file] = cast(torch.UntypedStorage, mapped)
    if end > files[storage.file].nbytes():
        what = f"ends before byte {end}, where a weight lies"
        fix = "fetch or save the file again"
        raise ReadError(what, where=storage.file, fix=fix, rule="file-truncated")
    return cast(torch.UntypedStorage, files[storage.file][storage.offset : end])


def _inflated(storage: Storage) -> torch.UntypedStorage:
    """A storage that the archive holds compressed; `key` is its entry's name, or its end."""
    with zipfile.ZipFile(storage.file) as archive:
        names = [n for n in archive.namelist() if n == storage.key or n.endswith("/" + storage.key)]
        if len(names) != 1 or archive.getinfo(names[0]).file_size != storage.nbytes:
            what = f"the archive has no entry of {storage.nbytes} bytes for storage {storage.key}"
            fix = "save the checkpoint again"
            raise ReadError(what, where=storage.file, fix=fix, rule="file-truncated")
        return _from_bytes(archive.read(names[0]))


def _from_bytes(data: bytes) -> torch.UntypedStorage:
    if not data:
        return torch.empty(0).untyped_storage()
    return torch.frombuffer(bytearray(data), dtype=torch.uint8).untyped_storage()


def _tensor(spec: TensorSpec, storage: torch.UntypedStorage, where: str) -> torch.Tensor:
    dtype = getattr(torch, spec.dtype, None)
    if not isinstance(dtype, torch.dtype) or spec.dtype.startswith(("q", "bits")):
        what = f"{spec.name} is of type {spec.dtype}, which no float model can be given"
        fix = "export the float model and quantise the ONNX graph with ONNX Runtime's own tools"
        raise ModelError(what, where=where, fix=fix)
    if storage.data_ptr() % dtype.itemsize:  # no processor promises to read across the grain
        storage = storage.clone()  # type: ignore[no-untyped-call]
    stride = spec.stride if spec.stride is not None else _row_major(spec.shape)
    last = spec.offset + sum((n - 1) * s for n, s in zip(spec.shape, stride, strict=True))
    if spec.numel and (last + 1) * dtype.itemsize > storage.nbytes():
        what = f"{spec.name} reaches beyond its storage"
        fix = "save the checkpoint again"
        raise ReadError(
            what, where=spec.storage.file if spec.storage else "", fix=fix, rule="file-truncated"
        )
    tensor = torch.empty(0, dtype=dtype).set_(storage, spec.offset, spec.shape, stride)
    if spec.conj:
        tensor = tensor.conj().resolve_conj()
    return tensor.neg() if spec.neg else tensor


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    stride, step = [], 1
    for n in reversed(shape):
        stride.append(step)
        step *= max(n, 1)
    return tuple(reversed(stride))
