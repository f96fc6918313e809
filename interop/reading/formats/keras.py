"""A Keras model: a .keras archive, or an HDF5 file (.h5) of a model or of weights -> a Manifest.

HDF5 is read by h5py, an extra; the names are the groups' paths. Nothing of a layer's code runs.
"""

from __future__ import annotations

import hashlib

from interop.facts import Import, Json, Manifest, Opened, StateDict, Storage, TensorSpec
from interop.reading.archives import nested_models
from interop.reading.archives.zip_archive import STORED, Archive, Entry
from interop.reading.bytes import json_text
from interop.reading.bytes.address import truncated, unrecognised
from interop.reading.bytes.source import Source
from interop.reading.formats import hdf5
from interop.reading.formats.keras_config import imported, opened
from interop.reading.formats.table import need
from interop.reading.pickle.imports import Ledger

MAX_JSON = 1 << 27
_WEIGHTS, _CONFIG, _METADATA = "model.weights.h5", "config.json", "metadata.json"
_FIX = "save the model again with model.save()"


def read(source: Source) -> Manifest:
    """An HDF5 file; ReadError where it is damaged or keeps data elsewhere."""
    reader = _Reader(source, "hdf5")
    reader.weights(_whole(source))
    return reader.manifest()


def read_archive(archive: Archive) -> Manifest:
    """A .keras archive: config.json, metadata.json and model.weights.h5."""
    reader = _Reader(archive.source, "keras")
    reader.digest.update(archive.directory)
    for name in (_METADATA, _CONFIG):
        if (entry := archive.entries.get(name)) is not None:
            reader.described(name, archive.structure(entry, MAX_JSON))
    ledger = Ledger()
    for entry in archive.entries.values():
        if entry.name not in (_METADATA, _CONFIG) and not entry.name.endswith(_WEIGHTS):
            nested_models.hidden(archive, entry, ledger)  # assets, and what else there is
    reader.imports.update(dict.fromkeys(ledger.imports()))
    reader.weights(_inside(archive))
    return reader.manifest()


def storage_bytes(path: str, key: str) -> bytes:
    """A data set's numbers, unpacked, row-major and little-endian."""
    with Source(path) as source:
        place = _inside(Archive(source)) if source.data[:2] == b"PK" else _whole(source)
    return hdf5.numbers(place, key)


def _whole(source: Source) -> hdf5.Place:
    return hdf5.Place(source.path, source.base, source.base + source.size)


def _inside(archive: Archive) -> hdf5.Place:
    """The weights within an archive."""
    entry, source = _weights(archive), archive.source
    if entry.method != STORED:
        return hdf5.Place(source.path, entry=entry.name)
    start = source.base + archive.start(entry)
    return hdf5.Place(source.path, start, start + entry.packed)


def _weights(archive: Archive) -> Entry:
    files = [e for name, e in archive.entries.items() if name.rpartition("/")[2] == _WEIGHTS]
    if len(files) != 1:
        what = f"the archive holds {len(files)} files of weights"
        raise unrecognised(archive.source.path, what, _FIX)
    return files[0]


class _Reader:
    def __init__(self, source: Source, container: str) -> None:
        self.path = source.path
        self.budget = source.budget
        self.size = source.size
        self.container = container
        self.digest = hashlib.sha256()
        self.metadata: dict[str, Json] = {}
        self.imports: dict[Import, None] = {}
        self.opened: dict[Opened, None] = {}
        self.places: dict[str, list[TensorSpec]] = {}
        self.aside: tuple[str, ...] = ()

    def manifest(self) -> Manifest:
        # HDF5 lists its groups by name, not in the order in which the model defines them.
        state_dicts = tuple(StateDict(place, tuple(t), False) for place, t in self.places.items())
        for state_dict in state_dicts:
            for spec in state_dict.tensors:
                self.digest.update(f"{spec.name} {spec.dtype} {spec.shape}\n".encode())
        return Manifest(
            path=self.path,
            file=self.path,
            container=self.container,
            size=self.size,
            header_sha256=self.digest.hexdigest(),
            state_dicts=state_dicts,
            metadata=self.metadata,
            imports=tuple(self.imports),
            held_aside=self.aside,
            opened=tuple(self.opened),
        )

    def weights(self, place: hdf5.Place) -> None:
        need("h5py", self.container, self.path)
        contents = hdf5.contents(place)
        for one in contents.sets:
            where, name = _named(one.path)
            storage = Storage(self.path, one.key, one.start, one.nbytes)
            spec = TensorSpec(name, one.dtype, one.shape, storage)
            self.places.setdefault(where, []).append(spec)
        self.aside = contents.aside
        for name, text in contents.attributes.items():
            if name == "model_config":
                self.described(_CONFIG, text.encode())
            elif name == "training_config":
                self.configured(self.parsed(name, text.encode()))
            else:
                self.metadata.setdefault(name, text)

    def described(self, name: str, raw: bytes) -> None:
        self.digest.update(raw)
        document = self.parsed(name, raw)
        if name == _METADATA and isinstance(document, dict):
            self.metadata.update(document)
        elif isinstance(document, dict):
            self.metadata[name] = document
            self.configured(document)

    def parsed(self, name: str, raw: bytes) -> Json:
        try:
            return json_text.loads(raw, self.budget)
        except ValueError:
            raise truncated(self.path, f"its {name} is not JSON") from None

    def configured(self, config: Json) -> None:
        """Note what loading a configuration would import and read."""
        self.imports.update(dict.fromkeys(imported(config, self.path)))
        self.opened.update(dict.fromkeys(opened(config)))


def _named(path: str) -> tuple[str, str]:
    """(place, name): the weights of a full model lie below one group."""
    place, slash, name = path.partition("/")
    return (place, name) if slash and place == "model_weights" else ("", path)
