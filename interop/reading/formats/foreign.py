"""Bytes of formats that are not read -> what they are, and what to do with such a file.

First by the bytes at a fixed place; what has none is known by its structure, once no reader took
it. A name counts only where the bytes say nothing at all.
"""

from __future__ import annotations

import re
from contextlib import suppress

from interop.errors import ReadError
from interop.facts import Danger
from interop.patterns import lazy
from interop.reading.bytes.address import truncated, unrecognised
from interop.reading.bytes.protobuf import BYTES, VARINT, Malformed, Overrun, fields
from interop.reading.bytes.source import Source

_SAVE = "save the model's state_dict() with torch.save or safetensors and give that file"
_FETCH = "the download went wrong: fetch the file itself again"
_MODEL = "give a model file"
_BEFORE = "give the model that it was converted from"
_TREES = "convert it to ONNX with onnxmltools and give that file"
_CATBOOST = "save it with save_model(…, format='onnx') and give that file"
_TF2ONNX = "convert it to ONNX with `python -m tf2onnx.convert {}` and give that file"
_GRAPH = _TF2ONNX.format("--graphdef FILE --inputs … --outputs …")
_PADDLE = "convert it to ONNX with paddle2onnx and give that file"
_MXNET = "export it to ONNX with mxnet.onnx.export_model and give that file"
_CAFFE = "convert it to ONNX with caffe2onnx and give that file"
_DARKNET = "load it in PyTorch with its .cfg and .weights, save the state_dict() and give that file"
_NCNN = f"{_BEFORE} to ncnn"
CORE_ML = f"{_BEFORE} to Core ML"
_R = "save its arrays in R with safetensors::safe_save_file and give that file"
_GGML = f"{_BEFORE}, or convert it to GGUF for llama.cpp"
_LUA = "load it with torchfile, save its arrays with numpy.savez and give that file"
_FLAX = "load it with flax.serialization.msgpack_restore, save its arrays with safetensors.flax"
_MATLAB = (
    "save its arrays with numpy.savez after scipy.io.loadmat, or a network in MATLAB with "
    "exportONNXNetwork"
)
_JOBLIB = "save it again without compression: joblib.dump(…, compress=0)"

# (offset, bytes, what it is, what to do)
_MAGIC: tuple[tuple[int, bytes, str, str], ...] = (
    (
        0,
        b"version https://git-lfs",
        "a Git LFS pointer, not the model itself",
        "run `git lfs pull`",
    ),
    (0, b"GGUF", "a GGUF file", "give the checkpoint that it was converted from"),
    (4, b"TFL3", "a TensorFlow Lite model", _TF2ONNX.format("--tflite FILE")),
    (4, b"ORTM", "an ONNX Runtime model (.ort)", "give the .onnx file that it was made from"),
    (4, b"PTMF", "a PyTorch Mobile model in a flatbuffer", _SAVE),
    (0, b"BZh", "bzip2-compressed", "unpack it with bunzip2 first"),
    (0, b"\xfd7zXZ\x00", "xz-compressed", "unpack it with unxz first"),
    (0, b"\x28\xb5\x2f\xfd", "zstd-compressed", "unpack it with unzstd first"),
    (0, b"\x04\x22\x4d\x18", "lz4-compressed", "unpack it with unlz4 first"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it first"),
    (0, b"Rar!", "a RAR archive", "unpack it first"),
    (0, b"\x89PNG", "a PNG picture", _MODEL),
    (0, b"\xff\xd8\xff", "a JPEG picture", _MODEL),
    (0, b"GIF8", "a GIF picture", _MODEL),
    (0, b"RIFF", "a RIFF media file", _MODEL),
    (0, b"%PDF", "a PDF document", _MODEL),
    (0, b"\x7fELF", "an ELF program or library", _MODEL),
    (0, b"MZ\x90\x00", "a Windows program or library", _MODEL),
    (0, b"SQLite format 3", "an SQLite database", _MODEL),
    (0, b"ptrace", "a profiler trace", _MODEL),
    (4, b"ET12", "an ExecuTorch program (.pte)", "give the checkpoint that it was exported from"),
    (0, b"ftrt", "a TensorRT engine", "give the .onnx file that it was built from"),
    (0, b"ptrt", "a TensorRT engine", "give the .onnx file that it was built from"),
    (0, b"RKNN", "an RKNN model", f"{_BEFORE} to RKNN"),
    (0, b"binf", "an XGBoost model", _TREES),
    (0, b"{L\0\0\0\0\0\0\0\7learner", "an XGBoost model (.ubj)", _TREES),
    (0, b"{L\0\0\0\0\0\0\0\7version", "an XGBoost model (.ubj)", _TREES),
    (0, b"CBM1", "a CatBoost model (.cbm)", _CATBOOST),
    (0, b"\x12\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "an MXNet file of parameters", _MXNET),
    *((0, mark, "a ggml file, older than GGUF", _GGML)
      for mark in (b"lmgg", b"fmgg", b"tjgg", b"algg")),
    (0, b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1", "a Torch7 object (.t7)", _LUA),
    (0, b"4\n1\n3\nV 1\n", "a Torch7 object as text (.t7)", _LUA),
    (0, b"\x47\x6b\x30\x01", "an ncnn file of weights", _NCNN),
    (0, b"\xdd\x85\x76\0", "an ncnn model (.param.bin)", _NCNN),
    (0, b"MATLAB ", "a MATLAB file (.mat)", _MATLAB),
    (0, b"X\n\0\0\0", "an R object (.rds)", _R),
    (0, b"RDX", "an R file (.RData)", _R),
    (0, b"\xba\x16\x4f\x2f", "a fastText model", _MODEL),
)  # fmt: skip

# (pattern at the beginning of a text, what it is, what to do)
_TEXTS: tuple[tuple[re.Pattern[bytes], str, str], ...] = tuple(
    (lazy(pattern, re.DOTALL), what, fix)
    for pattern, what, fix in (
        (rb"tree\r?\nversion=", "a LightGBM model", _TREES),
        (rb"7767517\s", "an ncnn model (.param)", _NCNN),
        (rb"\{\s*\"learner\"\s*:", "an XGBoost model (.json)", _TREES),
        (rb"\{\s*\"version\"\s*:\s*\[.{0,40}\"learner\"", "an XGBoost model (.json)", _TREES),
        (rb"\{.{0,40}\"(oblivious_trees|model_info|features_info)\"", "a CatBoost model (.json)",
         _CATBOOST),
        (rb"\{\s*\"nodes\"\s*:\s*\[\s*\{\s*\"op\"", "an MXNet graph (-symbol.json)", _MXNET),
        (rb"\{\s*\"base_code\"\s*:.{0,40}\"pir\"", "a Paddle model (.json)", _PADDLE),
        (rb"\{.{0,200}\"modelTopology\"|\{\s*\"format\"\s*:\s*\"(layers|graph)-model\"",
         "a TensorFlow.js model", f"{_BEFORE} to TensorFlow.js"),
        (rb"\{.{0,200}\"class_name\"\s*:\s*\"(Sequential|Functional|Model)\"",
         "a Keras configuration without weights", "give the .keras or .h5 file that has them"),
        (rb"node\s*\{", "a TensorFlow graph as text (.pbtxt)", _GRAPH),
        (rb"saved_model_schema_version", "a SavedModel as text (.pbtxt)",
         "load it with TensorFlow and save it again: that writes saved_model.pb"),
        (rb"meta_info_def\s*\{", "a TensorFlow graph as text (.meta)", _GRAPH),
        (rb"(#[^\n]*\n|\s)*(name|input|layers?)\s*[:{].*(layers?\s*\{|bottom\s*:\s*\")",
         "a Caffe network (.prototxt)", _CAFFE),
        (rb"(#[^\n]*\n|\s)*\[net(work)?\]", "a darknet network (.cfg)", _DARKNET),
        (rb"(<\?xml[^>]*>\s*)?(<!--.{0,200}-->\s*)?<net\s", "an OpenVINO model (.xml)",
         f"{_BEFORE} to OpenVINO"),
        (rb"(<\?xml[^>]*>\s*)?<PMML\s", "a PMML model", f"{_BEFORE} to PMML"),
        (rb"(?i:<\?xml|<error)", "an XML document", _FETCH),
    )
)  # fmt: skip
_WEB = lazy(rb"\s*<(!doctype html|html|head)", re.IGNORECASE)
_WORD = lazy(rb"[A-Za-z0-9_.][\w./>:\\ -]{0,200}")
_HEAD = 1 << 12  # bytes of what is compressed that are looked at


def by_magic(source: Source, head: bytes) -> ReadError | None:
    """What a file is whose bytes are well known to be no model that is read."""
    found = _packed(source, head) or _marked(head) or _texted(head)
    if found is not None:
        return _refusal(source, *found)
    if not head.strip(b"\x00"):
        return truncated(source.path, "the file begins with nothing but zero bytes", _FETCH)
    return None


def by_structure(path: str, head: bytes) -> ReadError | None:
    """What a file is that no reader took, by the form of its first bytes or, last, its name."""
    for known in (_protobuf, _tensors, _msgpack, _named):
        if (found := known(path, head)) is not None:
            return unrecognised(path, f"this is {found[0]}", found[1])
    return None


def _refusal(source: Source, what: str, fix: str) -> ReadError:
    """The refusal, with what loaders that unpickle anything would run: a pickle may begin so."""
    from interop.reading.archives import nested_models
    from interop.reading.pickle.imports import Ledger
    from interop.reading.pickle.records import Broken

    ledger = Ledger()
    with suppress(Broken, ReadError):  # by chance: these bytes are something else
        nested_models.search(source.data, ledger, source.budget)
    unsafe = [str(one) for one in ledger.imports() if one.danger == Danger.UNSAFE]
    if unsafe:
        what += f", and a pickle that would run {', '.join(unsafe[:3])}"
        fix = "do not load this file"
    return unrecognised(source.path, f"this is {what}", fix)


def _marked(head: bytes) -> tuple[str, str] | None:
    for offset, magic, what, fix in _MAGIC:
        if head.startswith(magic, offset):
            return what, fix
    return None


def _texted(head: bytes) -> tuple[str, str] | None:
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _WEB.match(start):
        return "a web page", _FETCH
    if head[:1].isalnum() or head[:1] in b"{<#[ \t\r\n\xef":
        for pattern, what, fix in _TEXTS:
            if pattern.match(start):
                return what, fix
    return None


def _packed(source: Source, head: bytes) -> tuple[str, str] | None:
    """What is in a compressed file, where that is worth to know."""
    if head[:2] == b"\x1f\x8b":
        what, fix, wide = "gzip-compressed", "unpack it with gunzip first", 31
    elif head[:1] == b"\x78" and head[1:2] in (b"\x01", b"\x5e", b"\x9c", b"\xda"):
        what, fix, wide = "zlib-compressed, as joblib writes it", _JOBLIB, 15
    else:
        return None
    import zlib

    try:
        raw = source.data[: min(source.size, 1 << 16)]
        inner = zlib.decompressobj(wide).decompress(raw, _HEAD)
    except zlib.error:
        return (what, fix) if wide == 31 else None
    if inner.startswith((b"X\n\0\0\0", b"RDX")):
        return _marked(inner)
    if inner.startswith(b"ustar", 257):
        mar = b"MAR-INF" in inner
        what = "a TorchServe archive (.mar)" if mar else "a tar archive, gzip-compressed"
        return what, "unpack it with `tar xzf` and give the model file in it"
    return what, fix


# ---------------------------------------------------------------- by structure


def _first(data: bytes, at: int, end: int) -> dict[int, tuple[int, int, int]]:
    """The first field of each number in a message that may be cut off: wire type and range."""
    found: dict[int, tuple[int, int, int]] = {}
    if at < end:
        try:
            for number, wire, a, b in fields(data, at, end):
                found.setdefault(number, (wire, a, b))
                at = b
        except Overrun as cut:
            # A message that goes on behind what was read of the file: its beginning is enough.
            start = _behind_tag(data, at, end)
            if cut.number and start < end:
                found.setdefault(cut.number, (BYTES, start, end))
        except (Malformed, IndexError):
            return {}
    return found


def _behind_tag(data: bytes, at: int, end: int) -> int:
    """The byte behind the tag and the length of a field."""
    for _ in range(2):
        while at < end and data[at] >= 0x80:
            at += 1
        at += 1
    return at


def _inner(data: bytes, field: tuple[int, int, int] | None) -> dict[int, tuple[int, int, int]]:
    return _first(data, field[1], field[2]) if field is not None and field[0] == BYTES else {}


def _is_word(data: bytes, field: tuple[int, int, int] | None) -> bool:
    if field is None or field[0] != BYTES:
        return False
    return _WORD.fullmatch(data[field[1] : field[2]]) is not None


def _protobuf(path: str, head: bytes) -> tuple[str, str] | None:
    """A message of TensorFlow, Core ML, Paddle or Caffe."""
    top = _first(head, 0, len(head))
    one = _inner(head, top.get(1))
    if top.get(1, (BYTES,))[0] == VARINT and top.keys() <= _CORE_ML_FIELDS:
        description = _inner(head, top.get(2))
        feature = next((description[n] for n in (1, 10, 50) if n in description), None)
        if _is_word(head, _inner(head, feature).get(1)):
            return "a Core ML model (.mlmodel)", CORE_ML
    if _is_word(head, one.get(1)) and _is_word(head, one.get(2)) and top.keys() <= {1, 2, 3, 4, 5}:
        return "a TensorFlow graph (a frozen .pb)", _GRAPH
    operators = _inner(head, _inner(head, one.get(2)).get(1))
    version = one.get(5) or one.get(4)
    if _is_word(head, operators.get(1)) or (2 in top and _is_word(head, version) and 1 not in one):
        return "a TensorFlow graph with its saver (.meta)", "give the .index file beside it"
    block = one.get(3) or one.get(4)
    # A block: its number and its parent's, then variables by name or operators.
    if all(one.get(n, (BYTES,))[0] == VARINT for n in (1, 2)) and _inner(head, block):
        return "a Paddle model (.pdmodel)", _PADDLE
    layer = _inner(head, top.get(100))
    if _is_word(head, layer.get(1)) and _is_word(head, layer.get(2)):
        return "a Caffe model (.caffemodel)", _CAFFE
    old = _inner(head, top.get(2))
    if _is_word(head, top.get(1)) and old.get(5, (BYTES,))[0] == VARINT:
        return "a Caffe model (.caffemodel)", _CAFFE
    return None


# Fields of a Core ML model: version, description, whether it may be updated, and its one kind.
_CORE_ML_FIELDS = frozenset((1, 2, 10, *range(200, 4000)))


def _tensors(path: str, head: bytes) -> tuple[str, str] | None:
    """Raw tables of numbers that begin with a few words: of Paddle, Torch7, darknet."""
    words = [int.from_bytes(head[at : at + 4], "little") for at in range(0, 24, 4)]
    # Versions of 0, no levels, then a message of a type and of axes.
    described = head[20:21] == b"\x08" and head[22:23] in (b"\x10", b"\x12")
    if not any(words[:4]) and 2 <= words[4] <= 64 and described:
        return "a Paddle file of parameters (.pdiparams)", _PADDLE
    if words[:2] == [3, 1] and words[2] < 1 << 20 and words[3] in (1, 2):
        return "a Torch7 table (.t7)", _LUA
    if words[0] == 0 and words[1] in (1, 2) and words[2] < 100 and path.endswith(".weights"):
        return "a darknet file of weights", _DARKNET
    return None


def _msgpack(path: str, head: bytes) -> tuple[str, str] | None:
    """A map of names to maps of names, down to an array as flax writes it."""
    at = 0
    for _ in range(32):
        mark = head[at] if at < len(head) else 0
        if 0x81 <= mark <= 0x8F:
            at += 1
        elif mark in (0xDE, 0xDF):
            at += 3 if mark == 0xDE else 5
        else:
            # An extension of type 1: an array, by its shape, its type and its bytes.
            size = {0xC7: 1, 0xC8: 2, 0xC9: 4}.get(mark, 0)
            array = at and size and head[at + 1 + size : at + 2 + size] == b"\x01"
            return ("a flax file of weights (.msgpack)", _FLAX) if array else None
        length = head[at] if at < len(head) else 0
        if 0xA1 <= length <= 0xBF:
            at, length = at + 1, length - 0xA0
        elif length == 0xD9 and at + 1 < len(head):
            at, length = at + 2, head[at + 1]
        else:
            return None
        if not _WORD.fullmatch(head[at : at + length]):
            return None
        at += length
    return None


_SHARD = lazy(r"\.data-\d{5}-of-\d{5}")


def _named(path: str, head: bytes) -> tuple[str, str] | None:
    if _SHARD.search(path):
        return "the numbers of a TensorFlow checkpoint", "give the .index file beside it"
    return None
