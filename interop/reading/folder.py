"""A folder (a bundle, or what save_pretrained left) -> the Manifest of the model in it.

`model.safetensors` first, then an index of shards, then a SavedModel or a distributed checkpoint,
then the one model file that there is. What describes the model beside it (config.json, labels,
preprocessing) goes into the metadata under its file's name; the graph comes from model.onnx.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from interop.errors import ReadError
from interop.facts import Danger, Import, Json, Manifest, Module, PartKind, StateDict
from interop.reading import parts, sharded
from interop.reading.bytes import json_text, location
from interop.reading.bytes.address import is_remote, over_limit, truncated, unrecognised
from interop.reading.bytes.budget import Budget
from interop.reading.bytes.links import leads_out
from interop.reading.bytes.location import joined, text
from interop.reading.pickle.imports import is_denied
from interop.records import replace

Reader = Callable[..., Manifest]
PREFERRED = ("model.safetensors", "pytorch_model.bin")
INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".onnx", ".pth.tar", ".pkl", ".th",
            ".pt2", ".keras", ".h5", ".npz", ".index")  # fmt: skip
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".th", ".pth.tar", ".joblib", ".dill")
_MAX_CLASSES = 1000
# Where sentence-transformers' own modules and their activations come from.
_OF_LIBRARIES = ("sentence_transformers.", "torch.nn.", "transformers.", "timm.", "None.")
# What trainers leave beside the model.
BESIDE = frozenset({"training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt",
                     "scheduler.bin", "scaler.pt", "rng_state.pth"})  # fmt: skip
LINES = tuple(name for name in parts.LABELS if name.endswith(".txt"))
DESCRIPTIONS = (
    "config.json", "adapter_config.json", "interop.json", "preprocessor_config.json",
    "processor_config.json", *(name for name in parts.LABELS if name not in LINES),
)  # fmt: skip
MAX_SHARDS = 10_000
_MAX_JSON = 1 << 26


def read(path: str, reader: Reader) -> Manifest:
    """Raises ReadError for a folder without a model, or with several; `reader` reads its files."""
    names = location.names(path)
    if not _holds_model(names) and (inner := _within(path, names)):
        model = read(joined(path, inner), reader)
        return _with_parts(replace(model, path=path), path)
    index = next((name for name in INDEXES if name in names), None)
    chosen = next((name for name in PREFERRED if name in names), None)
    if chosen is None and index is not None:
        manifest = read_index(joined(path, index), reader)
    else:
        chosen = chosen or _whole(names) or sharded.model_in(path, names) or _only(path, names)
        manifest = reader(joined(path, chosen))
    read_already = {chosen} if chosen else _shards(joined(path, index or ""))
    imports = _beside(path, [name for name in names if name not in read_already], reader)
    graph = manifest.graph
    if graph is None and "model.onnx" in names:
        graph = reader(joined(path, "model.onnx"), content_hash=False).graph
    described = {name: _json(joined(path, name)) for name in DESCRIPTIONS if name in names}
    lines = (name for name in LINES if name in names)
    described |= {name: text(joined(path, name), _MAX_JSON).split("\n") for name in lines}
    model = replace(
        manifest,
        path=path,
        graph=graph,
        metadata={**manifest.metadata, **described},
        imports=(*manifest.imports, *imports, *_own_code(path, names, described)),
    )
    model = _with_parts(model, path)
    # The modules' own weights are loaded with the model.
    loaded = [p.path for p in model.parts if p.path.endswith(PICKLES) and not p.fault
              and p.kind in (PartKind.MODULE, PartKind.ADAPTER) and "/" in p.path]  # fmt: skip
    more = _beside(path, loaded, reader)
    return replace(model, imports=(*model.imports, *more)) if more else model


def _with_parts(manifest: Manifest, path: str) -> Manifest:
    model = parts.with_parts(manifest, path)
    return replace(model, imports=(*model.imports, *_of_modules(model.modules)))


def _within(path: str, names: list[str]) -> str:
    """The folder of a sentence model's first module, which may have the transformer in it."""
    if parts.MODULES not in names:
        return ""
    listed = _json(joined(path, parts.MODULES))
    first = listed[0] if isinstance(listed, list) and listed else None
    inner = first.get("path") if isinstance(first, dict) else None
    if not isinstance(inner, str) or not inner or not is_plain(inner):
        return ""
    # A folder that holds itself by a link would be read without end.
    leads = not is_remote(path) and leads_out(Path(path, inner), Path(path, parts.MODULES))
    return "" if leads or parts.MODULES in _names(joined(path, inner)) else inner


def _names(path: str) -> list[str]:
    return location.names(path) if location.is_folder(path) else []


def _holds_model(names: list[str]) -> bool:
    return any(name in names for name in (*PREFERRED, *INDEXES)) or bool(_whole(names))


def _own_code(path: str, names: list[str], described: dict[str, Json]) -> dict[Import, None]:
    """The classes that transformers, sentence-transformers and PEFT take from Python files beside
    the model, or import by name, if they may."""
    imports: dict[Import, None] = {}
    configs = [one for one in described.values() if isinstance(one, dict)]
    if (tokenizer := "tokenizer_config.json") in names and tokenizer not in described:
        with contextlib.suppress(ReadError):
            configs += [one for one in [_json(joined(path, tokenizer))] if isinstance(one, dict)]
    for config in configs:
        todo: list[Json] = [config.get("auto_map"), config.get("custom_pipelines")]
        sentences, auto = config.get("sentence_transformers"), config.get("auto_mapping")
        named = [sentences.get("activation_fn")] if isinstance(sentences, dict) else []
        if isinstance(auto, dict):
            named.append(f"{auto.get('parent_library')}.{auto.get('base_model_class')}")
        todo += [n for n in named if isinstance(n, str) and not n.startswith(_OF_LIBRARIES)]
        while todo:
            node = todo.pop()
            if isinstance(node, (dict, list)):
                todo += list(node.values() if isinstance(node, dict) else node)[:_MAX_CLASSES]
            elif isinstance(node, str) and "." in node:
                module, _, name = node[:1000].rpartition("--")[2].rpartition(".")
                imports[Import(module, name, Danger.CODE)] = None
    return imports


def _of_modules(modules: Iterable[Module]) -> dict[Import, None]:
    """The classes that sentence-transformers imports by name for its modules, wherever they are:
    those of the modules, and of their activations, tokenizers and inner modules."""
    named: list[Json] = []
    for module in modules:
        types = module.config.get("types")
        named += [module.type, *(types.values() if isinstance(types, dict) else ())]
        named += [module.config.get(key) for key in ("activation_function", "tokenizer_class")]
    imports: dict[Import, None] = {}
    for one in named:
        if isinstance(one, str) and "." in one and not one.startswith(_OF_LIBRARIES):
            place, _, name = one[:1000].rpartition(".")
            danger = Danger.UNSAFE if is_denied(place, name) else Danger.CODE
            imports[Import(place, name, danger)] = None
    return imports


def _beside(path: str, names: list[str], reader: Reader) -> list[Import]:
    """What is unsafe in the pickles beside the model: other programs load those instead of it."""
    imports: dict[Import, None] = {}
    pickles = [name for name in names if name.lower().endswith(PICKLES)]
    for name in pickles:
        try:
            manifest = reader(joined(path, name), content_hash=False, whole=False)
        except ReadError as error:
            if error.rule == "pickle-over-limit":
                raise  # what it would run is not known
            continue  # it is not the model that was asked for
        for one in manifest.imports:
            if one.danger == Danger.UNSAFE:
                imports[Import(one.module, f"{one.name} (in {name})", one.danger)] = None
    return list(imports)


def _shards(place: str) -> set[str]:
    weights = _json(place)["weight_map"]  # type: ignore[index, call-overload]
    return set(weights.values())  # type: ignore[union-attr]


def _whole(names: list[str]) -> str | None:
    """The table of contents of a folder that is one model as a whole."""
    if "saved_model.pb" in names:
        return "saved_model.pb"
    if ".metadata" in names and any(name.endswith(".distcp") for name in names):
        return ".metadata"
    return None


def _only(path: str, names: list[str]) -> str:
    models = [
        name
        for name in names
        if name.lower().endswith(_ENDINGS)
        and name not in BESIDE
        and not name.startswith(("rng_state", "."))
    ]
    if len(models) == 1:
        return models[0]
    if models:
        shown = ", ".join(models[:4]) + (", …" if len(models) > 4 else "")
        what = f"the folder holds {len(models)} model files ({shown})"
        raise unrecognised(path, what, "give one of them")
    package = "Manifest.json" in names and location.is_folder(joined(path, "Data"))
    if package or "coremldata.bin" in names:
        fix = "give the model that it was converted from to Core ML"
        raise unrecognised(path, "this is a Core ML package", fix)
    raise unrecognised(path, "the folder holds no model file", "give the model file or its folder")


def _json(path: str) -> Json:
    try:
        raw = text(path, _MAX_JSON)
        return json_text.loads(raw, Budget(path, len(raw)))
    except ValueError as error:
        raise unrecognised(path, f"is no JSON: {error}", "mend or remove it") from None


def read_index(place: str, reader: Reader) -> Manifest:
    """One Manifest of all the files that an index names: {"weight_map": {tensor: file}}."""
    folder = location.folder_of(place)
    listed = _json(place)
    weights = listed.get("weight_map") if isinstance(listed, dict) else None
    if not isinstance(weights, dict) or not weights:
        raise unrecognised(place, "the index of shards names no tensors", "write it again")
    for name in weights.values():
        if not isinstance(name, str) or not is_plain(name):
            raise escapes(place, name)
    names = sorted(set(weights.values()))
    if len(names) > MAX_SHARDS:
        raise over_limit(place, f"its index names {len(names):,} shards")
    for name in names:
        if not is_remote(place) and leads_out(Path(folder, name), Path(place)):
            raise escapes(place, name)
    shards = [_shard(folder, name, reader) for name in names]
    # Two shards may hold one name: the index says whose it is.
    tensors = {
        t.name: t
        for name, shard in zip(names, shards, strict=True)
        for s in shard.state_dicts
        for t in s.tensors
        if weights.get(t.name) == name
    }
    missing = [name for name in weights if name not in tensors]
    # A shard that is unsafe to load is told of as that, whatever else it lacks.
    if missing and not any(i.danger == Danger.UNSAFE for shard in shards for i in shard.imports):
        what = f"{len(missing)} tensors of the index are in no shard, {missing[0]!r} for one"
        raise truncated(place, what)
    hashes = [shard.content_sha256 for shard in shards]
    ordered = all(s.ordered for shard in shards for s in shard.state_dicts)
    return replace(
        shards[0],
        path=place,
        file=place,
        size=sum(shard.size for shard in shards),
        header_sha256=_combined(shard.header_sha256 for shard in shards),
        content_sha256=_combined(hashes) if None not in hashes else None,
        state_dicts=(StateDict("", tuple(tensors.values()), ordered),),
        imports=tuple({i: None for shard in shards for i in shard.imports}),
        opened=tuple({one: None for shard in shards for one in shard.opened}),
    )


def is_plain(name: str) -> bool:
    """Is it the name of a file in the same folder?"""
    return bool(name) and not set(name) & set("/\\:\0") and name not in (".", "..")


def escapes(place: str, name: object) -> ReadError:
    """The refusal of an index that leads out of its folder."""
    return ReadError(
        f"the index names a file outside of its folder, {str(name)[:80]!r}",
        where=place,
        fix="do not load this model; put the files beside the index and mend it",
        rule="index-escapes-folder",
    )


def _shard(folder: str, name: str, reader: Reader) -> Manifest:
    path = joined(folder, name)
    if location.is_folder(path):  # by a link perhaps to this very one, and so on without end
        raise unrecognised(path, "the index names a folder as a shard", "write it again")
    if not location.exists(path):
        what = f"the shard {name!r} is missing"
        raise truncated(folder, what, "fetch all the files of the model")
    return reader(path)


def _combined(hashes: object) -> str:
    return hashlib.sha256("\n".join(map(str, hashes)).encode()).hexdigest()  # type: ignore[call-overload]
