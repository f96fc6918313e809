"""A model's folder -> its parts: the files besides the weights that decide what the model does.

Tokenizer, processor, configs, modules, adapters and code are listed by name and size alone; a file
is hashed or read only when somebody compares it. A file that no list here knows is a part too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

from interop.errors import InteropError, ReadError
from interop.facts import Json, Manifest, Module, Part, PartKind
from interop.patterns import lazy
from interop.reading.bytes import json_text, location
from interop.reading.bytes.address import is_remote
from interop.reading.bytes.links import climbs, leads_out
from interop.reading.bytes.source import Source
from interop.records import replace

MAX_PARTS = 2000
MAX_DEPTH = 6  # folders within the model's
# Bytes of a part whose content is compared: of a tokenizer, of any other, of one read each time.
MAX_BYTES, MAX_OTHER, MAX_SMALL = 1 << 26, 1 << 23, 1 << 20
MAX_MODULES = 100
# Lists and objects, and values, of a part that is compared; of a tokenizer, with its merges.
MOST_VALUES = {False: (100_000, 500_000), True: (1_500_000, 4_000_000)}

# Files that loading never reads: what people write, what training leaves, what tools keep.
IGNORED = (
    "readme*", "license*", "licence*", "notice*", "copying*", "citation*", "changelog*", "*.md",
    "*.rst", "*.pdf", "*.png", "*.jpg", "*.jpeg", "*.gif", "*.svg", "*.webp", "*.ipynb", "*.html",
    "*.log", "requirements*.txt", "dockerfile", "makefile", "trainer_state.json",
    "training_args.*", "train_results.json", "eval_results.json", "test_results.json",
    "predict_results.json", "all_results.json", "*_results.csv", "results.csv", "*_results.txt",
    "optimizer*.pt", "optimizer*.bin", "scheduler*.pt", "scheduler*.bin", "scaler*.pt",
    "rng_state*.pth", "events.out.tfevents.*", "zero_to_fp32.py", "fingerprint.pb", "*.sha256",
    "*.md5", "thumbs.db",
)  # fmt: skip
IGNORED_FOLDERS = lazy(
    r"\..*|__pycache__|checkpoint-\d+|global_step\d+|runs|logs|wandb|mlruns|eval|evaluation",
    re.IGNORECASE,
)
RECEIPT = "interop.json"
MODULES = "modules.json"
LABELS = (
    "id2label.json", "label2id.json", "labels.json", "label_map.json", "classes.json",
    "class_names.json", "class_to_idx.json", "index_to_name.json", "labels.txt", "classes.txt",
    "class_names.txt",
)  # fmt: skip
PROCESSORS = (
    "preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json",
    "image_processor_config.json", "feature_extractor_config.json",
)  # fmt: skip
_TOKENIZERS = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.txt", "vocab.json", "merges.txt", "vocab.bpe", "encoder.json", "normalizer.json",
    "tokenizer.model", "spiece.model", "sentencepiece.bpe.model", "source.spm", "target.spm",
)  # fmt: skip
_EXACT: Mapping[str, PartKind] = {
    **dict.fromkeys(("config.json", "model_config.json"), PartKind.CONFIG),
    **dict.fromkeys(_TOKENIZERS, PartKind.TOKENIZER),
    **dict.fromkeys(("chat_template.jinja", "chat_template.json"), PartKind.CHAT_TEMPLATE),
    **dict.fromkeys(PROCESSORS, PartKind.PROCESSOR),
    "generation_config.json": PartKind.GENERATION,
    **dict.fromkeys((MODULES, "config_sentence_transformers.json"), PartKind.MODULE),
    "adapter_config.json": PartKind.ADAPTER,
    **dict.fromkeys(LABELS, PartKind.LABELS),
    RECEIPT: PartKind.RECEIPT,
}
# Parts that are known by name, beside a single model file.
BESIDE = tuple(sorted(name for name in _EXACT if name not in (RECEIPT, MODULES)))
_MORE_TOKENIZERS = (
    "*.model", "*.spm", "*.tiktoken", "*.bpe", "*vocab*.json", "*vocab*.txt", "*merges*.txt",
    "bpe.codes", "dict.txt",
)  # fmt: skip
_PATTERNS = (
    ("*.py", PartKind.CODE),
    ("*.jinja", PartKind.CHAT_TEMPLATE),
    ("sentence_*_config.json", PartKind.MODULE),
    ("adapter_model.*", PartKind.ADAPTER),
    *((pattern, PartKind.TOKENIZER) for pattern in _MORE_TOKENIZERS),
)
WEIGHTS = (
    ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".th", ".pt2", ".onnx", ".onnx_data", ".data",
    ".h5", ".hdf5", ".keras", ".msgpack", ".ot", ".gguf", ".ggml", ".tflite", ".mlmodel", ".pb",
    ".npz", ".pkl", ".engine", ".index.json",
)  # fmt: skip
_MODULE_FOLDER = lazy(r"\d+_[A-Za-z]\w*")
# Modules that have nothing to store.
_BARE = ("Normalize", "Dropout")
_MODULE_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
# Modules that cannot run without weights of their own.
_WEIGHTED = ("Dense", "LayerNorm", "LSTM", "CNN", "WeightedLayerPooling")


def with_parts(manifest: Manifest, folder: str) -> Manifest:
    """The manifest of a folder's model with the folder's parts; nothing is hashed yet."""
    modules = tuple(_modules(folder))
    of_modules = {m.path for m in modules if m.path}
    parts = tuple(_parts(folder, {manifest.file, *_files_of(manifest)}, of_modules))
    absent = (*(f"{m.path}: {m.fault}" for m in modules if m.fault), *_code_absent(manifest, parts))
    return replace(manifest, is_folder=True, parts=parts, modules=modules, absent=absent)


def beside(file: Path) -> tuple[Part, ...]:
    """The parts beside a single model file, of the names that libraries give them."""
    parts = []
    for name in BESIDE:
        place = file.parent / name
        if place.is_file() and name != file.name:
            fault = _LEADS_OUT if place.is_symlink() and leads_out(place, file) else ""
            size = 0 if fault else place.stat().st_size
            parts.append(Part(name, kind_of(name), size, str(place), fault=fault))
    return tuple(parts)


def hashed(part: Part) -> Part:
    """The part with its hash; one that cannot be read keeps none, and says why."""
    if part.sha256 is not None or part.fault:
        return part
    try:
        if not is_remote(part.file) and not part.size:
            return replace(part, sha256=_EMPTY)
        with Source(part.file) as source:
            return replace(part, sha256=source.sha256())
    except InteropError as error:
        return replace(part, fault=error.what)


def same_bytes(one: Part, two: Part) -> bool:
    """Whether two parts are shown to have the same bytes; read up to the first that differs."""
    if one.fault or two.fault:
        return False
    if one.file == two.file:
        return True
    if one.sha256 is not None and two.sha256 is not None:
        return one.sha256 == two.sha256
    far = is_remote(one.file) or is_remote(two.file)
    if not far and (one.size != two.size or not one.size):
        return one.size == two.size
    try:
        with Source(one.file) as a, Source(two.file) as b:
            return a.size == b.size and all(
                bytes(a.view(at, min(at + _STEP, a.size))) == b.data[at : min(at + _STEP, a.size)]
                for at in range(0, a.size, _STEP)
            )
    except InteropError:
        return False


def content(part: Part) -> bytes:
    """The bytes of a part. Raises ReadError where it is larger than a part that is compared."""
    if part.fault:
        raise ReadError(part.fault, where=part.file)
    if not is_remote(part.file) and not part.size:
        return b""
    with Source(part.file) as source:
        most = MAX_BYTES if part.kind is PartKind.TOKENIZER else MAX_OTHER
        if source.size > most:
            what = f"is larger than {most >> 20} MiB, and its bytes differ"
            raise ReadError(what, where=part.file)
        return source.data[0 : source.size]


def kind_of(path: str, of_modules: frozenset[str] | set[str] = frozenset()) -> PartKind:
    """What a file within a model's folder is for, by its path there."""
    folder, _, name = path.rpartition("/")
    low = name.lower()
    if (kind := _EXACT.get(low)) is None:
        kind = next((k for pattern, k in _PATTERNS if fnmatch(low, pattern)), None)
    top = folder.split("/", 1)[0]
    if top in ("tokenizer", "tokenizer_2") and kind in (None, PartKind.CONFIG):
        return PartKind.TOKENIZER
    in_module = folder in of_modules or _MODULE_FOLDER.fullmatch(top) is not None
    # The transformer has its library's own config, whichever folder it lies in.
    in_module = in_module and bool(top) and not top.endswith("_Transformer")
    if in_module and (kind in (None, PartKind.CONFIG, PartKind.LABELS)):
        return PartKind.MODULE
    return PartKind.COPY if kind is None and low.endswith(WEIGHTS) else kind or PartKind.UNKNOWN


def is_ignored(name: str) -> bool:
    """Whether loading a model never reads a file of this name."""
    low = name.lower()
    return low.startswith(".") or any(fnmatch(low, pattern) for pattern in IGNORED)


_EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_STEP = 1 << 20  # bytes that are compared at once
_LEADS_OUT = "is a link that leads out of the folder"


def _files_of(manifest: Manifest) -> set[str]:
    return {
        t.storage.file for s in manifest.state_dicts for t in s.tensors if t.storage is not None
    }


def _parts(folder: str, read: set[str], of_modules: set[str]) -> Iterator[Part]:
    files = _far(folder, of_modules) if is_remote(folder) else _walk(folder, "", 0)
    for n, (path, size, fault) in enumerate(files):
        if n >= MAX_PARTS:
            why = f"the folder has more than {MAX_PARTS:,} files; the rest was not looked at"
            yield Part("…", PartKind.UNKNOWN, 0, fault=why)
            return
        if (file := location.joined(folder, path)) not in read:
            yield Part(path, kind_of(path, of_modules), size, file, fault=fault)


def _walk(folder: str, front: str, depth: int) -> Iterator[tuple[str, int, str]]:
    """Path, size and fault of each file that may matter, by path; links to folders are not
    followed."""
    here = location.joined(folder, front) if front else folder
    try:
        entries = sorted(os.scandir(here), key=lambda e: e.name)
    except OSError as error:
        yield front, 0, f"cannot be listed: {error.strerror}"
        return
    for entry in entries:
        path = f"{front}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if IGNORED_FOLDERS.fullmatch(entry.name):
                continue
            if depth >= MAX_DEPTH:
                yield path, 0, f"lies more than {MAX_DEPTH} folders deep and was not looked at"
                continue
            yield from _walk(folder, f"{path}/", depth + 1)
        elif not is_ignored(entry.name):
            yield path, *_seen(entry, folder)


def _seen(entry: os.DirEntry[str], folder: str) -> tuple[int, str]:
    """The size of a file, or why it is not read."""
    if entry.is_symlink():
        if entry.is_dir():
            return 0, "is a link to a folder, which is not followed"
        if leads_out(Path(entry.path), Path(folder, "-")) and not _of_cache(entry, folder):
            return 0, _LEADS_OUT
    try:
        if not entry.is_file():
            return 0, "is not a regular file"
        return entry.stat().st_size, ""
    except OSError as error:
        return 0, f"cannot be read: {error.strerror}"


def _of_cache(entry: os.DirEntry[str], folder: str) -> bool:
    """Whether a link leads where the Hub's cache keeps the files of its snapshots."""
    blobs = Path(folder).resolve().parent.parent / "blobs"
    try:
        return Path(entry.path).resolve().parent == blobs
    except (OSError, RuntimeError):
        return False


def _far(folder: str, of_modules: set[str]) -> Iterator[tuple[str, int, str]]:
    """The same of an address: the folder itself and those of its modules. No size is asked for."""
    for inner in ("", *sorted(of_modules)):
        front = f"{inner}/" if inner else ""
        try:
            there = location.names(location.joined(folder, inner) if inner else folder)
        except InteropError as error:
            yield inner, 0, error.what
            continue
        yield from ((f"{front}{n}", 0, "") for n in there if not is_ignored(n))


# ---------------------------------------------------------------- what the folder's files name


def _modules(folder: str) -> Iterator[Module]:
    """What modules.json chains; a fault where a module is not there, or cannot be read."""
    place = location.joined(folder, MODULES)
    if not location.exists(place):
        return
    try:
        listed = json_text.loads(location.text(place, MAX_SMALL))
    except (ValueError, ReadError) as error:
        yield Module(MODULES, "", fault=f"cannot be read ({_why(error)})")
        return
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        yield Module(MODULES, "", fault="is not a list of modules")
        return
    for one in listed[:MAX_MODULES]:
        path, kind = one.get("path", ""), one.get("type", "")
        if not isinstance(path, str) or not isinstance(kind, str) or (path and climbs(path)):
            yield Module(str(path)[:80], str(kind)[:200], fault="is not a folder within the model")
            continue
        yield _module(folder, path.strip("/"), kind)
    if len(listed) > MAX_MODULES:
        yield Module(MODULES, "", fault=f"names more than {MAX_MODULES} modules")


def _module(folder: str, path: str, kind: str) -> Module:
    if not path:
        return Module(path, kind)
    name = kind.rpartition(".")[2]
    here = location.joined(folder, path)
    place = location.joined(here, "config.json")
    if not location.exists(place):
        fault = "" if name in _BARE else "its config.json is missing"
        return Module(path, kind, fault=fault)
    try:
        config = json_text.loads(location.text(place, MAX_SMALL))
    except (ValueError, ReadError) as error:
        return Module(path, kind, fault=f"its config.json cannot be read ({_why(error)})")
    if not isinstance(config, dict):
        return Module(path, kind, fault="its config.json is not an object")
    bare = name in _WEIGHTED and not any(
        location.exists(location.joined(here, weights)) for weights in _MODULE_WEIGHTS
    )
    return Module(path, kind, config, "its weights are missing" if bare else "")


def _why(error: Exception) -> str:
    return error.what if isinstance(error, InteropError) else str(error)


def _code_absent(manifest: Manifest, parts: tuple[Part, ...]) -> Iterator[str]:
    """The Python files that config.json takes classes from and that are not in the folder."""
    config = manifest.metadata.get("config.json")
    stated = config.get("auto_map") if isinstance(config, Mapping) else None
    there = {p.path for p in parts}
    missing: dict[str, None] = {}
    for value in stated.values() if isinstance(stated, Mapping) else ():
        for one in value if isinstance(value, list) else [value]:
            # "owner/name--module.Class" lies in another repository.
            if isinstance(one, str) and "." in one and "--" not in one:
                file = one[:500].rpartition(".")[0].replace(".", "/") + ".py"
                if file not in there:
                    missing[file] = None
    yield from (f"{file}: config.json takes a class from it" for file in missing)


def loads(part: Part) -> Json:
    """The JSON of a part. Raises ValueError where it is not JSON, ReadError where it is not a file
    that is read, or has so many values that they would take seconds and gigabytes."""
    raw = content(part)
    lists, values = MOST_VALUES[part.kind is PartKind.TOKENIZER]
    if raw.count(b"[") + raw.count(b"{") > lists or raw.count(b",") > values:
        raise ReadError("has too many values to be compared", where=part.file)
    return json_text.loads(raw)
