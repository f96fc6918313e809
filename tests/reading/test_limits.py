"""No limit is reached in silence, and nothing costs more than its bytes may."""

from __future__ import annotations

import time
import zipfile
from pathlib import Path

import pytest

from benchmarks.cost import DOUBLINGS, KINDS, PROTO, checkpoint, listed, npy, zipped
from interop.errors import ReadError
from interop.facts import Danger
from interop.reading import read
from interop.reading.bytes.budget import MEMORY, SIZE, WORK, Budget

EVIL = PROTO + b"cos\nsystem\nX\x04\x00\x00\x00true\x85R."
PLAIN = PROTO + b"}."
# Some of the kinds are made of what is refused anyway, an empty file of weights say.
REFUSED = ("pickle-over-limit", "file-truncated", "file-unrecognised", "model-nested")
LONG = PROTO + b"N0" * 40_000  # goes on, and does nothing


def unsafe(path: Path) -> list[str]:
    return [str(one) for one in read(path).imports if one.danger == Danger.UNSAFE]


HIDDEN = {
    "behind the first": PLAIN + EVIL,
    "behind the hundredth": PLAIN * 100 + EVIL,
    "behind ten thousand": PLAIN * 10_000 + EVIL,
    "behind a long one": LONG + b"N." + EVIL,
    "in a list of protocol 0": b"(lp0\n." + EVIL,
    "behind the checkpoint of an archive": checkpoint(PLAIN + EVIL),
    "behind many in an archive": checkpoint(PLAIN * 500 + EVIL),
    "in an entry that no tensor refers to": checkpoint(PLAIN, ("a/data/9", LONG + EVIL[2:])),
    "deep in a deflated entry": checkpoint(
        PLAIN, ("a/data/9", LONG * 8 + EVIL[2:]), method=zipfile.ZIP_DEFLATED
    ),
    "behind another in an entry": checkpoint(PLAIN, ("a/data/9", PLAIN * 9_000 + EVIL)),
    "in the last of many entries": checkpoint(
        PLAIN, *((f"a/data/{n}", b"\x01") for n in range(12_000)), ("a/data/x", EVIL)
    ),
    "behind an array's objects": npy("|O", "()", PLAIN + EVIL),
    "behind an array of joblib's, for Python": listed(
        b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}(X\x05\0\0\0dtypecnumpy\ndtype\n"
        b"X\x02\0\0\0u1\x85RX\x05\0\0\0shapeK\x16\x85ub" + EVIL[2:-1]
    ),
}


@pytest.mark.parametrize("where", HIDDEN)
def test_what_is_hidden_is_found(where: str, tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(HIDDEN[where])
    assert unsafe(path) == ["os.system"]


@pytest.mark.parametrize("count", [25_000, 400_000])
def test_what_lies_behind_too_much_is_refused(count: int, tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    path.write_bytes(PLAIN * count + EVIL)
    try:
        assert unsafe(path) == ["os.system"]
    except ReadError as error:
        assert error.rule == "pickle-over-limit"
        assert "s of processor time" in error.what


def test_a_refused_archive_of_long_pickles_is_refused_for_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "two.pt"
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped(
            ("a/data.pkl", LONG + b"N."), ("a/data.pkl", LONG + b"N."),
            ("a/evil.pkl", EVIL), method=zipfile.ZIP_DEFLATED,
        )  # fmt: skip
    path.write_bytes(twice)
    with pytest.raises(ReadError, match=r"two entries named .* would run os\.system") as error:
        read(path)
    assert error.value.rule == "zip-entry-duplicated"


def test_each_pickle_beside_a_model_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(checkpoint(PLAIN))
    for number in range(40):
        (tmp_path / f"a{number:02}.pkl").write_bytes(PLAIN)
    assert not unsafe(tmp_path)
    (tmp_path / "b.pkl").write_bytes(EVIL)
    assert unsafe(tmp_path) == ["os.system (in b.pkl)"]
    (tmp_path / "b.pkl").write_bytes(PROTO + b"N0" * 4_000_000 + b"N.")
    with pytest.raises(ReadError) as error:
        read(tmp_path)
    assert error.value.rule == "pickle-over-limit"


@pytest.mark.needs_torch
def test_names_deeper_than_any_models_are_paid_for(tmp_path: Path) -> None:
    import torch

    for depth, count in ((15, 2000), (400, 2000)):
        state = {f"{'m.' * depth}{n}": torch.ones(1) for n in range(count)}
        torch.save(state, tmp_path / f"{depth}.pth")
    assert len(read(tmp_path / "15.pth").state_dicts[0].tensors) == 2000
    with pytest.raises(ReadError, match="processor time"):
        read(tmp_path / "400.pth")


@pytest.mark.parametrize("kind", KINDS)
def test_a_large_file_of_each_kind_is_read_soon_or_refused(kind: str, tmp_path: Path) -> None:
    size, ending, make = KINDS[kind]
    if ending == "keras":
        pytest.importorskip("h5py")
    path = tmp_path / f"file.{ending}"
    path.write_bytes(make(size << DOUBLINGS - 1))
    began = time.process_time()
    try:
        read(path)
    except ReadError as error:
        assert error.rule in (
            "pickle-over-limit",
            "file-truncated",
            "file-unrecognised",
            "model-nested",
        ), error
    took = time.process_time() - began
    # Before there was a budget, the costly kinds took five seconds and more where a million steps
    # of Python take a twentieth of one; a busy or slow machine has more time.
    assert took < max(3, 40 * million())


def million() -> float:
    """CPU seconds of a million steps of Python on this machine, as it is just now."""
    began = time.process_time()
    sum(n * n for n in range(1_000_000))
    return time.process_time() - began


def test_a_budget_grows_with_the_file_and_with_tensors_that_have_bytes() -> None:
    small, large = Budget("a", 1), Budget("b", 4 * SIZE)
    assert (small.work, small.memory) == (WORK, MEMORY)
    assert (large.work, large.memory) == (4 * WORK, 4 * MEMORY)
    small.earn(1000)
    small.spend(WORK)
    with pytest.raises(ReadError, match=r"more than 0\.\d s of processor time") as error:
        small.spend(WORK)
    assert error.value.rule == "pickle-over-limit" and error.value.where == "a"
    with pytest.raises(ReadError, match=f"more than {4 * MEMORY // 1_000_000} MB of memory"):
        large.spend(0, 5 * MEMORY)
