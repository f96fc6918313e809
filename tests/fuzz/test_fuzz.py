"""One suite a reader: whatever the bytes, a Manifest or a ReadError, in a second and 200 MB."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fixtures import hostile
from interop.errors import ExtraMissing, ReadError
from interop.facts import Manifest, TensorSpec
from interop.reading import read
from interop.reading.formats.table import FORMATS
from tests.fuzz.conftest import FEW, FUZZ
from tests.fuzz.mutate import mutated, repacked
from tests.fuzz.seeds import Seed, seeds

SECONDS = 1.0  # of this process's own time
MEGABYTES = 200
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")

SEEDS = seeds()
SLOW = ("hdf5", "keras")
CASES = [(name, seed) for name, found in SEEDS.items() for seed in found if name not in SLOW]
DEAR = [(name, seed) for name in SLOW for seed in SEEDS.get(name, ())]
ZIPPED = [case for case in CASES if case[1].path.read_bytes()[:2] == b"PK"]


def _label(case: Any) -> str:
    return case.path.name if isinstance(case, Seed) else str(case)


def _memory(line: str) -> int:
    """A line of Linux's account of this process, in bytes; 0 elsewhere."""
    if not _STATUS.exists():
        return 0
    found = next(x for x in _STATUS.read_text().splitlines() if x.startswith(line))
    return int(found.split()[1]) * 1024


def ends_well(path: Path, data: bytes) -> None:
    """Reading these bytes gives facts that they bear out, or one ReadError; cheaply."""
    path.write_bytes(data)
    if _CLEAR.exists():
        _CLEAR.write_text("5")  # forget the most memory that was held
    before, start = _memory("VmRSS"), time.process_time()
    try:
        manifest = read(path)
    except ReadError as error:
        assert error.rule and error.fix and "\n" not in str(error)
        str(error).encode("utf-8")
    except ExtraMissing:
        pass
    else:
        _borne_out(manifest)
    assert time.process_time() - start < SECONDS
    assert _memory("VmHWM") - before < MEGABYTES << 20


def _borne_out(manifest: Manifest) -> None:
    assert isinstance(manifest, Manifest)
    for state_dict in manifest.state_dicts:
        for tensor in state_dict.tensors:
            _lies_in_its_file(tensor)
    json.dumps(dict(manifest.metadata), ensure_ascii=False, allow_nan=False).encode("utf-8")


def _lies_in_its_file(tensor: TensorSpec) -> None:
    storage = tensor.storage
    if storage is not None and storage.offset >= 0:
        assert storage.offset + storage.nbytes <= Path(storage.file).stat().st_size


def test_every_format_has_a_seed() -> None:
    missing = {one.container for one in FORMATS if not one.extra} - SEEDS.keys()
    assert missing == set()


@pytest.mark.parametrize(("container", "seed"), CASES, ids=_label)
@FUZZ
@given(data=st.data())
def test_mutated_files(container: str, seed: Seed, data: st.DataObject, tmp_path: Path) -> None:
    path = tmp_path / seed.path.name
    if not path.exists():
        seed.lay(tmp_path)
    ends_well(path, data.draw(mutated(seed.path.read_bytes())))


@pytest.mark.parametrize(("container", "seed"), ZIPPED, ids=_label)
@FUZZ
@given(data=st.data())
def test_mutated_entries(container: str, seed: Seed, data: st.DataObject, tmp_path: Path) -> None:
    ends_well(tmp_path / seed.path.name, data.draw(repacked(seed.path.read_bytes())))


@pytest.mark.parametrize(("container", "seed"), DEAR, ids=_label)
@FEW
@given(data=st.data())
def test_mutated_files_that_cost_a_process(
    container: str, seed: Seed, data: st.DataObject, tmp_path: Path
) -> None:
    raw = seed.path.read_bytes()
    path = tmp_path / seed.path.name
    ends_well(path, data.draw(mutated(raw)))
    if raw[:2] == b"PK":
        ends_well(path, data.draw(repacked(raw)))


@FUZZ
@given(data=st.data(), one=st.sampled_from(hostile.HOSTILE))
def test_mutated_hostile_files(data: st.DataObject, one: hostile.Hostile, tmp_path: Path) -> None:
    if isinstance(one.content, bytes):
        other = data.draw(st.sampled_from(hostile.HOSTILE)).content
        splice = other if isinstance(other, bytes) else b""
        ends_well(tmp_path / "file", data.draw(mutated(one.content, splice)))


_STARTS = (
    b"", b"\x80\x02", b"\x80\x04\x95", b"PK\x03\x04", b"\x08\x07", b"(",
    b"\x93NUMPY\x01\x00", b"\x10\0\0\0\0\0\0\0{\"", b'{"weight_map":', b"\x0a", b"\x12",
)  # fmt: skip


@FUZZ
@given(start=st.sampled_from(_STARTS), data=st.binary(max_size=300))
def test_random_bytes(start: bytes, data: bytes, tmp_path: Path) -> None:
    ends_well(tmp_path / "file", start + data)


OPCODES = (
    b"(01234.2NIJKLMRQPSTUVXabcdeghijloprstqu}])BCG"
    b"\x80\x81\x82\x85\x86\x87\x88\x8a\x8b\x8c\x8e\x8f\x90\x91\x92\x93\x94\x95\x96"
)
# Whole instructions, so that what is built makes sense more often.
_PIECES = (
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n", b"cbuiltins\nset\n",
    b"cbuiltins\nbytearray\n", b"c_codecs\nencode\n", b"cnumpy.core.multiarray\n_reconstruct\n",
    b"cnumpy\ndtype\n", b"ctorch\nFloatStorage\n", b"ctorch._tensor\n_rebuild_from_type_v2\n",
    b"cdatetime\ndatetime\n", b"cpathlib\nPosixPath\n", b"ctorch\nSize\n", b"ctorch\ndevice\n",
    b"X\x07\0\0\0storage", b"X\x01\0\0\0w", b"K\x02", b"J\xff\xff\xff\xff", b"}", b"]", b")",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", b"(X\x07\0\0\0storagectorch\nFloatStorage\n"
    b"X\x01\0\0\x000X\x03\0\0\0cpuK\x02tQ", b"q\x00", b"h\x00", b"R", b"b", b"t", b"s", b"a",
)  # fmt: skip


@FUZZ
@given(
    codes=st.lists(st.one_of(st.sampled_from(OPCODES).map(lambda c: bytes([c])),
                             st.sampled_from(_PIECES)), max_size=80),
    tail=st.binary(max_size=20),
    zipped=st.booleans(),
)  # fmt: skip
def test_any_opcodes(codes: list[bytes], tail: bytes, zipped: bool, tmp_path: Path) -> None:
    program = b"\x80\x04}]" + b"".join(codes) + tail
    storage = hostile.Member("a/data/0", bytes(16))
    data = hostile.checkpoint(program + b".", storage) if zipped else program
    ends_well(tmp_path / "file", data)


_SIZES = st.one_of(
    st.integers(-2, 40), st.sampled_from([2**31, 2**63, 2**64, 1.5, None, True, "4"])
)
_ENTRY = st.one_of(
    st.fixed_dictionaries(
        {
            "dtype": st.sampled_from(["F32", "I8", "F4", "BF16", "BOOL", "x", 3]),
            "shape": st.lists(_SIZES, max_size=3),
            "data_offsets": st.lists(_SIZES, min_size=2, max_size=2),
        }
    ),
    st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
    st.none(),
)


@FUZZ
@given(
    header=st.dictionaries(st.one_of(st.just("__metadata__"), st.text(max_size=3)), _ENTRY),
    data=st.binary(max_size=48),
)
def test_any_safetensors_header(header: dict[str, Any], data: bytes, tmp_path: Path) -> None:
    ends_well(tmp_path / "file", hostile.safetensors(header, data))


_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@FUZZ
@given(
    weights=st.one_of(_JSON, st.dictionaries(st.text(max_size=4), st.one_of(_JSON, st.sampled_from(
        ["model.safetensors", "model.safetensors.index.json", ".", "..", "a/b"]))))
)  # fmt: skip
def test_any_index(weights: Any, tmp_path: Path) -> None:
    (tmp_path / "model-1.safetensors").write_bytes(hostile.safetensors({}))
    path = tmp_path / "model.safetensors.index.json"
    ends_well(path, json.dumps({"weight_map": weights}).encode())


_FIELD = st.recursive(
    st.one_of(st.binary(max_size=12), st.integers(0, 2**64 - 1), st.sampled_from([1, 4, 8, 17])),
    lambda inner: st.lists(st.tuples(st.integers(1, 26), inner), max_size=6),
    max_leaves=24,
)


def _message(value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(
            hostile._field(number, inner if isinstance(inner, int) else _message(inner))
            for number, inner in value
        )
    return bytes(value)


@FUZZ
@given(graph=st.lists(st.tuples(st.sampled_from([1, 2, 5, 11, 12, 13]), _FIELD), max_size=12))
def test_any_onnx_graph(graph: list[Any], tmp_path: Path) -> None:
    model = hostile._field(1, 8) + hostile._field(8, hostile._field(2, 17))
    ends_well(tmp_path / "file", model + hostile._field(7, _message(graph)))
