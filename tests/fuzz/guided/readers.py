"""A reader's target for every container, and one for all: whatever the bytes, facts or a ReadError.

The first byte of an input says which seed's other files lie beside it, the rest is the file.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import cache, partial
from pathlib import Path

from fixtures import hostile
from interop.errors import ExtraMissing, ReadError
from interop.facts import Manifest, TensorSpec
from interop.reading import read
from tests.fuzz.guided import mutators as m
from tests.fuzz.guided.target import Finding, Mutate, Target
from tests.fuzz.guided.watch import bounded, watched
from tests.fuzz.seeds import CORPUS, Seed, seeds

# How hostile files begin that are seeds of a container.
_BEGINS: dict[str, tuple[bytes, ...]] = {
    "any": (b"",), "torch-zip": (b"PK",), "numpy": (b"\x93NUMPY",), "pickle": (b"\x80",),
    "onnx": (b"\x08", b"\x3a", b"\x12"), "keras": (b"PK",),
}  # fmt: skip


_SLOW = ("hdf5", "keras")  # whose reader starts a process for a file
_HDF5 = b"\x89HDF\r\n"


def _surroundings(seed: Seed) -> str:
    return str(seed.path.parent) + (seed.path.name if seed.beside else "")


@cache
def _laid(container: str) -> list[tuple[Seed, ...]]:
    """The container's seeds, those that the same files lie beside together."""
    groups: dict[str, list[Seed]] = {}
    for seed in _seeds(container):
        groups.setdefault(_surroundings(seed), []).append(seed)
    return [tuple(group) for group in groups.values()]


@cache
def _seeds(container: str) -> list[Seed]:
    if container != "any":
        return seeds().get(container, [])
    return [Seed(path, ()) for path in sorted(CORPUS.rglob("*")) if path.is_file()]


def _inputs(container: str) -> Iterable[bytes]:
    for number, group in enumerate(_laid(container)):
        for seed in group:
            yield bytes([number]) + seed.path.read_bytes()
    for one in hostile.HOSTILE:
        if isinstance(one.content, bytes) and one.content.startswith(_BEGINS.get(container, ())):
            yield b"\0" + one.content


def _make(container: str, folder: Path) -> Callable[[bytes], None]:
    paths = []
    for number, group in enumerate(_laid(container)):
        inside = folder / str(number)
        inside.mkdir()
        paths.append(group[0].lay(inside))
    for path, group in zip(paths, _laid(container), strict=True):
        path.write_bytes(group[0].path.read_bytes())
        _borne_out_or_refused(path)  # what is loaded late is loaded now

    def run(data: bytes) -> None:
        if _HDF5 in data and container not in _SLOW:
            return  # a process for each: see _SLOW
        path = paths[(data[0] if data else 0) % len(paths)]
        path.write_bytes(data[1:])
        with watched(folder), bounded():
            _borne_out_or_refused(path)

    return run


def _borne_out_or_refused(path: Path) -> None:
    try:
        manifest = read(path)
    except ReadError as error:
        if not (error.rule and error.fix) or "\n" in str(error):
            raise Finding("poor-refusal", str(error)) from None
        str(error).encode("utf-8")
    except ExtraMissing:
        pass
    else:
        borne_out(manifest)


def borne_out(manifest: Manifest) -> None:
    """The file has the bytes that the facts speak of, and these can be written as JSON."""
    for state_dict in manifest.state_dicts:
        for tensor in state_dict.tensors:
            _lies_in_its_file(tensor)
    json.dumps(dict(manifest.metadata), ensure_ascii=False, allow_nan=False).encode("utf-8")


def _lies_in_its_file(tensor: TensorSpec) -> None:
    storage = tensor.storage
    tensor.name.encode("utf-8")
    stop = storage.offset + storage.nbytes if storage is not None else 0
    if storage is not None and storage.offset >= 0 and stop > Path(storage.file).stat().st_size:
        raise Finding("beyond-the-file", f"{tensor.name!r}: {storage}")
    if any(axis < 0 for axis in tensor.shape):
        raise Finding("negative-shape", f"{tensor.name!r}: {tensor.shape}")


_ZIPS = m.either((0.6, m.zipped(m.entry)), (0.2, m.zip_records))
_STREAM = m.either((0.75, m.PICKLES))
_FORMS: dict[str, Mutate | None] = {
    "any": m.either((0.15, m.zipped(m.entry)), (0.1, m.protobuf), (0.1, m.safetensors),
                    (0.1, m.json_text), (0.2, m.PICKLES), (0.05, m.numpy_array)),
    "torch-zip": _ZIPS, "torchscript": _ZIPS, "exported-program": _ZIPS, "keras": _ZIPS,
    "numpy": m.either((0.4, m.zipped(m.entry)), (0.4, m.numpy_array)),
    "pickle": _STREAM, "torch-legacy": _STREAM, "distributed": _STREAM,
    "onnx": m.either((0.8, m.protobuf)), "saved-model": m.either((0.8, m.protobuf)),
    "tensorflow-checkpoint": None, "hdf5": None,
    "safetensors": m.either((0.85, m.safetensors)), "index": m.either((0.8, m.json_text)),
}  # fmt: skip


def targets() -> list[Target]:
    made = []
    for container, mutate in _FORMS.items():
        slow = container in _SLOW
        made.append(
            Target(
                name=f"read-{container}",
                make=partial(_make, container),
                seeds=partial(_inputs, container),
                mutate=m.behind(max(1, len(_laid(container))), mutate or m.either()),
                weight=0.3 if slow else 1.5 if container == "any" else 1.0,
                runs=2 if slow else 200,
                needs=("h5py",) if slow else (),
            )
        )
    return made
