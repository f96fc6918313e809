"""A torch.distributed.checkpoint folder -> a Manifest, from its `.metadata`, a pickle of records.

The records say which pieces a tensor has and where each lies: a range of a .distcp file that is an
archive as torch.save writes them. A tensor of one piece is a plain one, otherwise it has parts.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path

from interop.errors import ReadError
from interop.facts import Danger, Import, Json, Layout, Manifest, StateDict, TensorSpec
from interop.reading.archives import nested_models
from interop.reading.archives.zip_archive import Archive
from interop.reading.bytes import location as places
from interop.reading.bytes.address import is_remote, over_limit, truncated, unrecognised
from interop.reading.bytes.links import leads_out
from interop.reading.bytes.source import Source
from interop.reading.folder import escapes, is_plain
from interop.reading.formats import torch_zip
from interop.reading.pickle.checkpoint import Contents, guarded, manifest, persistent
from interop.reading.pickle.imports import Ledger
from interop.reading.pickle.machine import Machine
from interop.reading.pickle.metadata import value
from interop.reading.pickle.rebuild import Unfit, dtype
from interop.reading.pickle.records import Broken, Constructed, Global, Mapping, Node
from interop.reading.pickle.state_dicts import ASIDE
from interop.records import replace

MAX_TABLE = 1 << 27  # bytes of `.metadata`
MAX_OBJECT = 1 << 26  # bytes of the pickle of what is no tensor
MAX_PIECES = 1_000_000
MAX_FILES = 10_000
_SAVE = "turn it into one file: python -m torch.distributed.checkpoint.format_utils dcp_to_torch"
Place = tuple[int, ...]


def read(source: Source) -> Manifest:
    """Raises ReadError for a table that is damaged, leads out of the folder or promises more than
    the files hold."""
    if source.size > MAX_TABLE:
        raise over_limit(source.path, f"the table of tensors has {source.size:,} bytes")
    table = source.data[: source.size]
    ledger = Ledger()
    imports: dict[Import, None] = {}  # of the pieces, each of which is a pickle too

    def work() -> Contents:
        machine = Machine(table, ledger, _no_storage, source.budget)
        tree = machine.run()
        nested_models.search(table, ledger, source.budget, machine.position)
        with ExitStack() as opened:
            return _Reader(source, tree, ledger, imports, opened).read()

    contents = guarded(work, ledger, source.path, whole=True)
    model = manifest(source, "distributed", hashlib.sha256(table).hexdigest(), ledger, contents)
    every = tuple(dict.fromkeys(_loaded(one) for one in (*model.imports, *imports)))
    return replace(model, size=model.size + _sizes(model), imports=every)


def _loaded(one: Import) -> Import:
    """A name as the loader of such folders takes it: it has no list of what it refuses."""
    return replace(one, danger=Danger.SAFE) if one.danger == Danger.REFUSED else one


def _no_storage(key: Node) -> Node:
    raise Broken("a persistent id, which its writer does not use")


def _sizes(manifest: Manifest) -> int:
    if is_remote(manifest.file):
        return manifest.size
    folder = Path(manifest.file).parent
    return sum(file.stat().st_size for file in folder.glob("*.distcp") if file.is_file())


def _record(node: Node, name: str) -> dict[str, Node]:
    """The fields of a record of the class `name`."""
    if type(node) is not Constructed or type(node.func) is not Global or node.func.name != name:
        raise Broken(f"something else where {name} should be")
    if node.state is None:
        return {}
    if type(node.state) is not Mapping:
        raise Broken(f"a {name} without its fields")
    return node.state.named


def _place(node: Node) -> Place:
    if type(node) is not tuple or not all(type(n) is int and 0 <= n < 1 << 60 for n in node):
        raise Broken("a size or an offset that is none")
    return node


class _Reader:
    def __init__(
        self,
        source: Source,
        tree: Node,
        ledger: Ledger,
        imports: dict[Import, None],
        opened: ExitStack,
    ) -> None:
        self.path = source.path
        self.ledger = ledger
        self.imports = imports
        self.opened = opened
        self.files: dict[str, Source] = {}
        self.pieces: dict[tuple[str, Place], Node] = {}
        fields = _record(tree, "Metadata")
        self.listed = self.mapping(fields, "state_dict_metadata")
        self.paths = fields.get("planner_data")
        for key, where in self.mapping(fields, "storage_data").others:
            index = _record(key, "MetadataIndex")
            name, offset = index.get("fqn"), index.get("offset")
            if type(name) is str:
                self.pieces[name, () if offset is None else _place(offset)] = where
        if len(self.pieces) > MAX_PIECES:
            raise over_limit(self.path, f"the table lists {len(self.pieces):,} pieces")

    def mapping(self, fields: dict[str, Node], name: str) -> Mapping:
        mapping = fields.get(name)
        if type(mapping) is not Mapping:
            raise Broken(f"a table without {name}")
        return mapping

    def read(self) -> Contents:
        """The tensors by the places that the planner took them from."""
        places: dict[str, list[TensorSpec]] = {}
        aside: dict[str, None] = {}
        described: dict[str, Json] = {}
        for full, entry in self.listed.named.items():
            steps = self.steps(full)
            kept = next((i for i, step in enumerate(steps) if step.lower() in ASIDE), None)
            kind = (
                entry.func.name if type(entry) is Constructed and type(entry.func) is Global else ""
            )
            if kept is not None:
                aside[".".join(steps[: kept + 1])] = None
            elif kind == "TensorStorageMetadata":
                spec = self.tensor(full, steps[-1], _record(entry, kind))
                places.setdefault(".".join(steps[:-1]), []).append(spec)
            elif kind == "BytesStorageMetadata":
                if (description := value(self.object(full))) is not None:
                    described[full] = description
            else:
                raise Broken(f"{full!r} is of no known kind")
        state_dicts = tuple(StateDict(place, tuple(specs)) for place, specs in places.items())
        return state_dicts, tuple(aside), described

    def steps(self, full: str) -> list[str]:
        """The keys that lead to an entry: the name alone where the planner kept none."""
        steps = self.paths.named.get(full) if type(self.paths) is Mapping else None
        if type(steps) is not tuple or not all(type(step) in (str, int) for step in steps):
            return [full]
        return [str(step) for step in steps] or [full]

    def tensor(self, full: str, name: str, fields: dict[str, Node]) -> TensorSpec:
        kind, size = self.kind(fields.get("properties")), _place(fields.get("size"))
        chunks = fields.get("chunks")
        if type(chunks) is not list:
            raise Broken(f"{full!r} has no list of pieces")
        parts = [self.piece(full, kind, _record(one, "ChunkStorageMetadata")) for one in chunks]
        if len(parts) == 1 and parts[0].shape == size:
            return replace(parts[0], name=name)
        if sum(part.numel for part in parts) < _count(size):
            raise truncated(self.path, f"the pieces of {full!r} do not make the whole of it")
        return TensorSpec(name, kind, size, layout=Layout.SHARDED, parts=tuple(parts))

    def kind(self, node: Node) -> str:
        """The dtype of a TensorProperties, whose state is a tuple that begins with it."""
        state = node.state if type(node) is Constructed else None
        first = state[0] if type(state) is tuple and state else None
        if type(state) is Mapping:
            first = state.named.get("dtype")
        try:
            return dtype(first)
        except Unfit:
            raise Broken("a tensor of no known dtype") from None

    def piece(self, full: str, kind: str, fields: dict[str, Node]) -> TensorSpec:
        """One piece, named by where it begins, as the archive that holds it tells of it."""
        begin, size = _place(fields.get("offsets")), _place(fields.get("sizes"))
        where = self.pieces.get((full, begin)) or self.pieces.get((full, ()))
        if where is None:
            raise truncated(self.path, f"no file is named for {full!r} at {begin}")
        spec = self.stored(full, _record(where, "_StorageInfo"))
        if spec.dtype != kind or spec.shape != size:
            what = f"a piece of {full!r} is {spec.dtype} {spec.shape}, not {kind} {size}"
            raise truncated(self.path, what)
        return replace(spec, name=",".join(map(str, begin)))

    def object(self, full: str) -> Node:
        """What is no tensor: torch.load would take it without any limits of its own."""
        if (where := self.pieces.get((full, ()))) is None:
            raise truncated(self.path, f"no file is named for {full!r}")
        archive = self.archive(full, _record(where, "_StorageInfo"))
        program = archive.structure(torch_zip.pickle_entry(archive), MAX_OBJECT)
        machine = Machine(program, self.ledger, persistent, archive.source.budget)
        tree = machine.run()
        nested_models.search(program, self.ledger, archive.source.budget, machine.position)
        return tree

    def stored(self, full: str, place: dict[str, Node]) -> TensorSpec:
        """The tensor whose archive lies at a place."""
        read = torch_zip.read_archive(self.archive(full, place))
        self.imports.update(dict.fromkeys(read.imports))
        state_dicts = read.state_dicts
        if len(state_dicts) != 1 or len(state_dicts[0].tensors) != 1:
            raise truncated(self.path, f"the bytes named for {full!r} are no tensor")
        spec = state_dicts[0].tensors[0]
        # Of a file far away the place is not looked up: that would be a request for each piece.
        here = not is_remote(self.path)
        if here and spec.storage is not None and spec.storage.offset < 0:
            raise unrecognised(self.path, f"the pieces of {full!r} are compressed", _SAVE)
        return spec

    def archive(self, full: str, place: dict[str, Node]) -> Archive:
        archive = Archive(self.part(full, place))
        archive.agree()
        return archive

    def part(self, full: str, place: dict[str, Node]) -> Source:
        name, start, length = (place.get(n) for n in ("relative_path", "offset", "length"))
        if type(start) is not int or type(length) is not int or type(name) is not str:
            raise Broken(f"{full!r} lies at no place")
        if place.get("transform_descriptors"):
            what = f"the pieces of {full!r} are stored in a changed form (compressed?)"
            raise unrecognised(self.path, what, _SAVE)
        return self.file(name).within(start, start + length)

    def file(self, name: str) -> Source:
        if (source := self.files.get(name)) is None:
            path = places.joined(places.folder_of(self.path), name)
            linked_out = not is_remote(path) and leads_out(Path(path), Path(self.path))
            if not is_plain(name) or linked_out:
                raise escapes(self.path, name)
            if len(self.files) >= MAX_FILES:
                raise over_limit(self.path, f"the pieces lie in more than {MAX_FILES:,} files")
            try:
                source = self.opened.enter_context(Source(path))
            except ReadError as error:
                if places.exists(path):
                    raise
                what = f"the file {name!r} is missing"
                raise truncated(self.path, what, "fetch all files of the folder") from error
            self.files[name] = source
        return source


def _count(shape: Place) -> int:
    return TensorSpec("", "uint8", shape).numel
