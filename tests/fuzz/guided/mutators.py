"""Mutations that know a format: what is changed stays well-formed around the change."""

from __future__ import annotations

import io
import json
import pickletools
import random
import zipfile
from collections.abc import Sequence
from typing import Any

from fixtures import hostile
from interop.policy.keys import KEYS
from interop.rules import all_rules
from tests.fuzz.guided.target import Base, Mutate

NUMBERS = (
    0, 1, 2, 3, 4, 7, 8, 16, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 1 << 16, 0x7FFFFFFF,
    1 << 31, 0xFFFFFFFF, 1 << 32, (1 << 40) - 1, (1 << 53) + 1, (1 << 63) - 1, 1 << 63,
    (1 << 64) - 1,
)  # fmt: skip


def plain_mutation(rng: random.Random) -> Base:
    """What stands in for libFuzzer's mutation where that is not there."""

    def mutate(data: bytes, most: int) -> bytes:
        made = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            at = rng.randint(0, len(made))
            how = rng.randrange(5)
            if how == 0 and at < len(made):
                made[at] = rng.randrange(256)
            elif how == 1:
                del made[at : at + rng.randint(1, 16)]
            elif how == 2:
                made[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 8)))
            elif how == 3:
                start = rng.randint(0, len(made))
                made[at:at] = made[start : start + rng.randint(1, 64)]
            else:
                width = rng.choice((1, 2, 4, 8))
                number = rng.choice(NUMBERS) & ((1 << 8 * width) - 1)
                made[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        return bytes(made[:most])

    return mutate


def either(*mutations: tuple[float, Mutate]) -> Mutate:
    """One of several mutations, by weight; the plain one for what is left of 1."""

    def mutate(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
        roll = rng.random()
        for weight, one in mutations:
            roll -= weight
            if roll < 0:
                return one(data, rng, base, most)[:most]
        return base(data, most)

    return mutate


# ---------------------------------------------------------------- pickles

_PROTOCOL = b"\x80\x04"
_MAKERS = (
    b"ccollections\nOrderedDict\n)R", b"ctypes\nSimpleNamespace\n)R", b"cargparse\nNamespace\n)R",
    b"ccollections\nCounter\n)R", b"ccollections\ndeque\n)R", b"]", b"}", b"\x8f", b")", b"N",
    b"ccollections\ndefaultdict\ncbuiltins\nlist\n\x85R", b"cbuiltins\nset\n)R",
    b"cbuiltins\nfrozenset\n]\x85R", b"cbuiltins\nbytearray\nC\x02ab\x85R",
    b"ccopyreg\n_reconstructor\ncbuiltins\nobject\ncbuiltins\nobject\nN\x87R",
    b"ccollections\nOrderedDict\n)\x81", b"ccollections\nOrderedDict\n)}\x92",
    b"(icollections\nOrderedDict\n", b"(ccollections\nOrderedDict\no",
)  # fmt: skip
PROBES = (
    b"cprobe\nhit\n", b"cprobe\nThing\n)\x81", b"cprobe\nThing\n", b"cprobe\nHooked\n)\x81",
    b"cprobe\nInitial\n", b"cprobe\nNew\n)\x81", b"cprobe\nKey\n)\x81", b"cprobe\nGone\n)\x81",
    b"X\x05\0\0\0probeX\x03\0\0\0hit\x93", b"(iprobe\nInitial\n", b"(iprobe\nhit\n",
    b"(cprobe\nhit\no", b"cprobe\nhit\n)R", b"cprobe\nhit\n)\x81", b"cprobe\nhit\n)}\x92",
    b"\x8c\x05probe\x8c\nHooked.pop\x93", b"(cprobe\nhit\nt", b"(cprobe\nhit\nl",
    b"ccopyreg\n__newobj__\ncprobe\nThing\n\x85R",
    b"ccopyreg\n_reconstructor\ncprobe\nThing\ncbuiltins\nobject\nN\x87R",
    b"ccopyreg\n__newobj_ex__\ncprobe\nThing\n)}\x87R",
    b"ccollections\ndefaultdict\ncprobe\nhit\n\x85R",
)  # fmt: skip
_NAMES = (
    "__setstate__", "__reduce__", "__class__", "__dict__", "append", "extend", "add", "update", "x",
    "__setitem__", "__call__", "__getattr__", "__missing__", "default_factory", "__del__", "_data",
    "__init__", "__new__", "__getinitargs__", "__slots__", "__iter__", "items", "__hash__",
)  # fmt: skip
_ENDS = (
    b"b", b"a", b"e", b"s", b"u", b"R", b"\x81", b"\x92", b"\x90", b"\x91", b"o", b"0", b"1", b"2",
    b"(", b"t", b"l", b"d", b"\x85", b"\x86", b"\x87", b")R", b"}b", b"\x94", b".", b"Q", b"\x93",
    b"q\0", b"q\x01", b"h\0", b"h\x01", b"h\x02", b"N", b"K\x01", b"p0\n", b"g0\n", b"\x97",
    b"\x98", b"\x95\x08\0\0\0\0\0\0\0", b"\x80\x02", b"\x80\x05", b"\x82\x01",
)  # fmt: skip
_TORCH = (
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch._utils\n_rebuild_parameter\n",
    b"ctorch._tensor\n_rebuild_from_type_v2\n", b"ctorch._utils\n_rebuild_parameter_with_state\n",
    b"ctorch\nFloatStorage\n", b"ctorch\nSize\n", b"ctorch\ndevice\n", b"ctorch\nfloat32\n",
    b"ctorch.storage\nUntypedStorage\n", b"ctorch.serialization\n_get_layout\n",
    b"c_codecs\nencode\n", b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\ndtype\n",
    b"cnumpy\nndarray\n", b"cnumpy.core.multiarray\nscalar\n", b"cdatetime\ndatetime\n",
    b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81", b"cpathlib\nPosixPath\n",
    b"ctorch._utils\n_rebuild_qtensor\n", b"ctorch._utils\n_rebuild_sparse_tensor\n",
    b"ctorch._utils\n_rebuild_wrapper_subclass\n", b"cdecimal\nDecimal\n", b"cuuid\nUUID\n",
    b"ctorch.nested._internal.nested_tensor\n_rebuild_njt\n", b"cre\n_compile\n",
    b"ctorch.distributed.device_mesh\nDeviceMesh\n", b"ctorch.distributed.tensor\nDTensor\n",
    b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ",
    b"cnumpy.random._pickle\n__randomstate_ctor\n", b"cnumpy.ma.core\n_mareconstruct\n",
)  # fmt: skip


def _state(rng: random.Random) -> bytes:
    value = rng.choice((b"cprobe\nhit\n", b"h\0", b"h\x01", b"K\x01", b"]", b"}"))
    body = b"}(" + hostile.text(rng.choice(_NAMES)) + value + b"u"
    return rng.choice((body + b"b", b"N" + body + b"\x86b", body + body + b"\x86b", body))


def opcodes(data: bytes) -> tuple[list[bytes], bytes]:
    """A stream of pickles as its instructions, and what is left behind the last whole one."""
    stream, found = io.BytesIO(data), []
    known = pickletools.code2op
    start = 0
    while code := stream.read(1):
        one = known.get(code.decode("latin-1"))
        if one is None:
            break
        if one.arg is not None:
            try:
                one.arg.reader(stream)
            except Exception:
                break
        found.append(data[start : stream.tell()])
        start = stream.tell()
        if len(found) > 5000:
            break
    return found, data[start:]


def _argument(one: bytes, rng: random.Random, base: Base) -> bytes:
    """The instruction with another argument."""
    code, argument = one[:1], one[1:]
    if code in b"KMJ\x82\x83\x84qrhj" and argument:
        number = rng.choice(NUMBERS) if rng.random() < 0.5 else rng.randrange(8)
        return code + (number & ((1 << 8 * len(argument)) - 1)).to_bytes(len(argument), "little")
    if code in b"XTB\x8b" and len(argument) >= 4:
        inner = base(argument[4:], 200)
        return code + len(inner).to_bytes(4, "little") + inner
    if code in b"\x8cUC\x8a" and argument:
        inner = base(argument[1:], 200)[:255]
        return code + bytes([len(inner)]) + inner
    return code + base(argument, 200)


def pickles(pieces: Sequence[bytes]) -> Mutate:
    """Instructions dropped, doubled, exchanged and put in; `pieces` are whole ones."""

    def mutate(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
        ops, tail = opcodes(data)
        if not ops:
            ops = [_PROTOCOL, b"}", b"."]
        for _ in range(rng.randint(1, 5)):
            at = rng.randrange(len(ops) + 1)
            how = rng.randrange(9)
            if how == 0:
                del ops[at : at + rng.randint(1, 4)]
            elif how == 1:
                start = rng.randrange(len(ops) + 1)
                ops[at:at] = ops[start : start + rng.randint(1, 12)]
            elif how == 2 and at < len(ops):
                ops[at] = _argument(ops[at], rng, base)
            elif how == 3:
                ops.insert(at, rng.choice(pieces))
            elif how == 4:
                ops.insert(at, _state(rng))
            elif how == 5:
                ops.insert(at, rng.choice(_MAKERS) + rng.choice((b"", b"q\0", b"q\x01", b"\x94")))
            elif how == 6 and at < len(ops):
                other = rng.randrange(len(ops))
                ops[at], ops[other] = ops[other], ops[at]
            else:
                ops.insert(at, rng.choice(_ENDS))
        if rng.random() < 0.7 and b"." not in ops:
            ops.append(b".")
        if rng.random() < 0.05:
            tail = base(tail, most)
        return (b"".join(ops) + tail)[:most]

    return mutate


PROBED = pickles(PROBES)
PICKLES = pickles((*_TORCH, PROBES[0], hostile.SYSTEM))

# ---------------------------------------------------------------- JSON

_WORDS = (
    "", "a", "..", "../x", "/etc/passwd", "model.safetensors", "F32", "F4", "I64", "x" * 300, "\0",
    "é", "weight_map", "__metadata__", "dtype", "shape", "data_offsets", "nan", "1e5", "true",
)  # fmt: skip


def _value(rng: random.Random) -> Any:
    how = rng.randrange(8)
    if how < 3:
        number = rng.choice(NUMBERS)
        return rng.choice((number, -number, float(number), number * 10**30))
    if how == 3:
        return rng.choice(_WORDS)
    return rng.choice((None, True, False, [], {}, [[]], [0, 0], {"a": 1}, 0.5, float("nan"), [None],
                       -1, "4", float("inf"), "\ud800"))  # fmt: skip


def _walk(document: Any) -> list[tuple[Any, Any]]:
    """Each place of a document: (container, key)."""
    found: list[tuple[Any, Any]] = []
    todo = [document]
    while todo and len(found) < 3000:
        here = todo.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here))
        for key in keys:
            found.append((here, key))
            if isinstance(here[key], (dict, list)):
                todo.append(here[key])
    return found


def _changed(document: Any, rng: random.Random, base: Base) -> Any:
    for _ in range(rng.randint(1, 4)):
        places = _walk(document) if isinstance(document, (dict, list)) else []
        if not places:
            return _value(rng)
        here, key = rng.choice(places)
        other, another = rng.choice(places)
        how = rng.randrange(8)
        try:
            if how == 0:
                here.pop(key)
            elif how == 1:
                here[key] = json.loads(json.dumps(other[another]))
            elif how == 2:
                here[key], other[another] = other[another], here[key]
            elif how == 3 and isinstance(here, dict):
                here[rng.choice((*_WORDS, str(another)))] = here[key]
            elif how == 4 and isinstance(here, list):
                here.insert(key, json.loads(json.dumps(here[key])))
            elif how == 5 and isinstance(here[key], str):
                here[key] = base(here[key].encode("utf-8", "replace"), 400).decode("latin-1")
            elif how == 6 and type(here[key]) in (int, float):
                here[key] = here[key] + rng.choice((-8, -4, -1, 1, 2, 4, 8, 0.5))
            else:
                here[key] = _value(rng)
        except (KeyError, IndexError, ValueError, RecursionError):
            continue
    return document


def json_text(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
    """A JSON document with values changed, moved, copied and left out."""
    try:
        document = json.loads(data)
        text = json.dumps(_changed(document, rng, base), indent=rng.choice((None, None, 1)))
    except (ValueError, RecursionError):
        return base(data, most)
    raw = text.encode()
    if rng.random() < 0.1:  # a key twice
        pairs = text.split(", ")
        raw = ", ".join([*pairs, pairs[rng.randrange(len(pairs))]]).encode()
    return raw[:most]


def safetensors(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
    """A header changed as JSON or as bytes, under a length that is right."""
    length = int.from_bytes(data[:8], "little")
    if length > len(data):
        return base(data, most)
    header, body = data[8 : 8 + length], data[8 + length :]
    header = json_text(header, rng, base, most) if rng.random() < 0.7 else base(header, most)
    if rng.random() < 0.2:
        body = base(body, most)
    if rng.random() < 0.2:  # so many bytes as the last tensor wants
        try:
            ends = [e["data_offsets"][1] for k, e in json.loads(header).items()
                    if k != "__metadata__"]  # fmt: skip
            body = body.ljust(min(max(ends), 4096), b"\0")[: min(max(ends), 4096)]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            pass
    if rng.random() < 0.1:
        header += b" " * rng.randint(1, 9)
    return (len(header).to_bytes(8, "little") + header + body)[:most]


def numpy_array(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
    """The text of an .npy header changed, under a length that is right."""
    if data[:6] != b"\x93NUMPY" or len(data) < 12:
        return base(data, most)
    width = 2 if data[6] == 1 else 4
    start = 8 + width
    stop = start + int.from_bytes(data[8:start], "little")
    header, body = data[start:stop], data[stop:]
    words = (b"'|O'", b"'<f4'", b"'>i8'", b"'|V3'", b"[('a','<f4')]", b"True", b"(2, 3)", b"(-1,)",
             b"'fortran_order'", b"(", b"9" * 30, b"'<U4'", b"()", b"'<M8[ns]'")  # fmt: skip
    if rng.random() < 0.5:
        at = rng.randint(0, len(header))
        header = header[:at] + rng.choice(words) + header[at + rng.randint(0, 8) :]
    else:
        header = base(header, most)
    if rng.random() < 0.2:
        body = base(body, most)
    length = (len(header) & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return (data[:8] + length + header + body)[:most]


# ---------------------------------------------------------------- zip archives


def zipped(inner: Mutate) -> Mutate:
    """One entry changed by `inner` and everything that the archive says of it put right."""

    def mutate(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as old:
                infos = [i for i in old.infolist() if i.file_size <= most]
                entries = {i.filename: old.read(i) for i in infos}
        except Exception:
            return base(data, most)
        if not entries:
            return base(data, most)
        names = sorted(entries)
        telling = [n for n in names if n.endswith((".pkl", ".json", ".h5", ".npy", ".pb"))]
        name = rng.choice(telling if telling and rng.random() < 0.8 else names)
        how = rng.randrange(12)
        if how == 0:
            del entries[name]
        elif how == 1:
            entries[base(name.encode(), 80).decode("latin-1")] = entries[name]
        elif how == 2:
            entries[name], other = entries[rng.choice(names)], entries[name]
            entries[rng.choice(names)] = other
        else:
            entries[name] = inner(entries[name], rng, base, most)
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w", rng.choice((0, 0, 8))) as new:
            for entry, content in entries.items():
                try:
                    new.writestr(zipfile.ZipInfo(entry or "_"), content)
                except (ValueError, UnicodeError, zipfile.LargeZipFile):
                    continue
        made = target.getvalue()
        return made if len(made) <= most else data

    return mutate


def entry(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
    """Whatever an archive's entry is, changed as that."""
    if data[:6] == b"\x93NUMPY":
        return numpy_array(data, rng, base, most)
    if data[:1] in (b"{", b"["):
        return json_text(data, rng, base, most)
    if data[:1] == b"\x80":
        return PICKLES(data, rng, base, most)
    return base(data, most)


def zip_records(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
    """A field of one of the archive's records changed: names, sizes, flags, places."""
    marks = [at for mark in (b"PK\1\2", b"PK\3\4", b"PK\5\6", b"PK\6\6", b"PK\6\7")
             for at in _places(data, mark)]  # fmt: skip
    if not marks:
        return base(data, most)
    made = bytearray(data)
    for _ in range(rng.randint(1, 2)):
        at = rng.choice(marks) + rng.randrange(4, 60)
        width = rng.choice((1, 2, 2, 4, 4, 8))
        old = int.from_bytes(made[at : at + width], "little")
        new = rng.choice((rng.choice(NUMBERS), old + 1, old - 1, old ^ (1 << rng.randrange(16))))
        made[at : at + width] = (new & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return bytes(made[:most])


def _places(data: bytes, mark: bytes) -> list[int]:
    found, at = [], data.find(mark)
    while at >= 0 and len(found) < 500:
        found.append(at)
        at = data.find(mark, at + 1)
    return found


# ---------------------------------------------------------------- protobuf


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError


def _fields(data: bytes) -> list[tuple[int, Any]]:
    """The fields of a message: (tag, number or bytes). ValueError where it is none."""
    found: list[tuple[int, Any]] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind = tag & 7
        if not tag >> 3 or kind not in (0, 1, 2, 5):
            raise ValueError
        if kind == 0:
            value: Any
            value, at = _varint(data, at)
        else:
            size = {1: 8, 5: 4}.get(kind, 0)
            if kind == 2:
                size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError
            value, at = data[at : at + size], at + size
        found.append((tag, value))
    return found


def _written(fields: Sequence[tuple[int, Any]]) -> bytes:
    made = bytearray()
    for tag, value in fields:
        made += hostile._varint(tag)
        if tag & 7 == 0:
            made += hostile._varint(value & ((1 << 64) - 1))
        else:
            made += (hostile._varint(len(value)) if tag & 7 == 2 else b"") + value
    return bytes(made)


def protobuf(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
    """One field somewhere in the message changed, with all lengths around it put right."""
    made = _message(data, rng, base, most, 12)
    return made if len(made) <= most else data


def _message(data: bytes, rng: random.Random, base: Base, most: int, depth: int) -> bytes:
    try:
        fields = _fields(data)
    except ValueError:
        return base(data, most)
    if not fields:
        return base(data, most)
    at = rng.randrange(len(fields))
    tag, value = fields[at]
    if tag & 7 == 2 and depth and len(value) and rng.random() < 0.85:
        fields[at] = (tag, _message(value, rng, base, most, depth - 1))
        return _written(fields)
    how = rng.randrange(8)
    if how == 0:
        del fields[at]
    elif how == 1:
        fields.insert(rng.randrange(len(fields) + 1), fields[at])
    elif how == 2:
        other = rng.randrange(len(fields))
        fields[at], fields[other] = fields[other], fields[at]
    elif how == 3:
        fields[at] = (rng.randrange(1, 30) << 3 | tag & 7, value)
    elif how == 4:
        same = [v for t, v in fields if t & 7 == tag & 7]
        fields[at] = (tag, rng.choice(same))
    elif tag & 7 == 0:
        fields[at] = (tag, rng.choice((*NUMBERS, value + 1, max(0, value - 1))))
    elif tag & 7 == 2:
        fields[at] = (tag, base(value, most))
    else:
        fields[at] = (tag, base(value, most)[: len(value)].ljust(len(value), b"\0"))
    return _written(fields)


# ---------------------------------------------------------------- policies

_RULES = tuple(all_rules())
_TOML_VALUES = (
    "true", "false", "0", "1", "-1", "1.5", "1e400", "nan", "inf", "100", "101", '""', '"x"', "[]",
    "{}", '"error"', '"off"', '"warn"', '"note"', '"reload"', '"replace"', '"transfer"', '"cpu"',
    '"cuda"', '"14 days"', '"0 days"', '["stated"]', '["assumed", "stated"]', "2030-12-31",
    "2030-12-31T00:00:00Z", '"2030-02-30"', "12:00:00", '["a", "b"]', '{a = "b"}', "[1]", "[[]]",
    '{resize = [8, 8], mean = [0, 0, 0], std = [1, 1, 1]}', '"a\\u0000b"', "99999999999999999999",
    '{kind = "text", tokenizer = "tokenizer.json"}', "'**/[a-'", "'''\nx\n'''", '"image"',
    '"image-classification"', '"heldout"', '"torchvision:cifar10=x"', '"\\ud83d"', "0x10",
)  # fmt: skip


def policy(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
    """Lines of a policy put in, left out, moved, and given another value."""
    lines = data.decode("utf-8", "replace").splitlines()
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(lines))
        how = rng.randrange(8)
        if how == 0:
            del lines[at : at + 1]
        elif how == 1 and lines:
            lines.insert(at, rng.choice(lines))
        elif how == 2 and at < len(lines) and "=" in lines[at]:
            lines[at] = lines[at].partition("=")[0] + "= " + rng.choice(_TOML_VALUES)
        elif how == 3:
            heads = ("[budgets]", "[rules]", "[evidence]", "[facts]", "[assess]", "[[waivers]]",
                     "[[models]]", "[models.rules]", "[models.budgets]", "[[models.waivers]]",
                     "[tool.interop]", "[budgets.x]", "[[models.waivers.x]]")  # fmt: skip
            lines.insert(at, rng.choice(heads))
        elif how == 4:
            lines.insert(at, f"{rng.choice(_RULES)} = {rng.choice(_TOML_VALUES)}")
        elif how == 5:
            word = rng.choice(("rule", "place", "reason", "expires", "path"))
            value = rng.choice((*_TOML_VALUES, f'"{rng.choice(_RULES)}"'))
            lines.insert(at, f"{word} = {value}")
        elif how == 6 and at < len(lines):
            lines[at] = base(lines[at].encode(), 400).decode("utf-8", "replace")
        else:
            key = rng.choice(KEYS).name
            name = rng.choice((key, key.partition(".")[2] or key))
            lines.insert(at, f"{name} = {rng.choice(_TOML_VALUES)}")
    return "\n".join(lines).encode("utf-8", "replace")[:most]


# ---------------------------------------------------------------- two files in one input


def joined(a: bytes, b: bytes) -> bytes:
    return len(a).to_bytes(4, "little") + a + b


def parted(data: bytes) -> tuple[bytes, bytes]:
    length = int.from_bytes(data[:4], "little")
    return data[4 : 4 + length], data[4 + length :]


def in_two(inner: Mutate) -> Mutate:
    """One of the two files changed, both alike, or the two exchanged."""

    def mutate(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
        a, b = parted(data)
        how = rng.randrange(8)
        if how == 0:
            a, b = b, a
        elif how == 1:
            a = b
        elif how < 4:
            a = inner(a, rng, base, most // 2)
        else:
            b = inner(b, rng, base, most // 2)
        return joined(a, b)[:most]

    return mutate


def behind(count: int, inner: Mutate) -> Mutate:
    """The first byte says one of `count` things; the rest is changed by `inner`."""

    def mutate(data: bytes, rng: random.Random, base: Base, most: int) -> bytes:
        first = data[:1] or b"\0"
        if rng.random() < 0.05:
            first = bytes([rng.randrange(count)])
        return first + inner(data[1:], rng, base, most - 1)

    return mutate
