"""What may a file cost? Files of each kind in five sizes, each twice the one before
-> results/cost.json.

    python -m benchmarks.cost [KIND …] [--folder FOLDER]

Each file is made to cost as much as its bytes allow: containers, calls, names, numbers, nodes,
entries, weights without bytes. `interop inspect` of it, a process of its own, has to take less than
a second of the processor and 200 MB, children included, or refuse the file as over the limit. From
one size to the next the cost may double and no more. Files that a library wrote with very many
tensors, each with bytes of its own, are measured beside, and must not be refused.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.process import machine, store

SECONDS, MEGABYTES = 1.0, 200
DOUBLINGS = 4
GROWTH = 2.6  # of the cost beyond an empty file's, from one size to the next; noise included
PROTO = b"\x80\x04"


def text(word: str) -> bytes:
    raw = word.encode()
    return b"X" + len(raw).to_bytes(4, "little") + raw


def varint(number: int) -> bytes:
    raw = b""
    while True:
        raw += bytes([number & 127 | (128 if number > 127 else 0)])
        number >>= 7
        if not number:
            return raw


def field(number: int, data: bytes | int) -> bytes:
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return buffer.getvalue()


def checkpoint(pickle: bytes, *more: tuple[str, bytes], method: int = 0) -> bytes:
    own = (("a/data.pkl", pickle), ("a/version", b"3\n"))
    return zipped(*own, *more, method=method)


def listed(items: bytes) -> bytes:
    return PROTO + b"](" + items + b"e."


def many(count: int, item: Callable[[int], bytes]) -> bytes:
    return b"".join(map(item, range(count)))


def safetensors(header: dict[str, Any], data: bytes = b"") -> bytes:
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def onnx(graph: bytes) -> bytes:
    port = field(1, b"x")
    return field(1, 8) + field(7, graph + field(11, port)) + field(8, field(2, 17))


def node(kind: str, inputs: list[str], output: str, *attributes: bytes) -> bytes:
    named = b"".join(field(1, name.encode()) for name in inputs)
    own = named + field(2, output.encode()) + field(4, kind.encode())
    return field(1, own + b"".join(field(5, a) for a in attributes))


def fan(count: int) -> bytes:
    """Layers of ten nodes, each of which takes all ten of the layer before."""
    layers = [[f"v{layer}_{n}" for n in range(10)] for layer in range(count // 10)]
    before, out = ["x"] * 10, b""
    for layer in layers:
        out += b"".join(node("Sum", before, name) for name in layer)
        before = layer
    return out + field(12, field(1, before[0].encode()))


def branches(count: int) -> bytes:
    """Nodes within a graph within a graph, under a name of a thousand letters."""
    inner = b"".join(node("Relu", ["x"], f"r{n}") for n in range(count))
    for level in range(3):
        inner = node("If", ["x"], f"o{level}" + "n" * 1000, field(1, b"then") + field(6, inner))
    return inner


def tf_node(name: str, operator: str, inputs: list[str]) -> bytes:
    named = b"".join(field(3, one.encode()) for one in inputs)
    return field(1, field(1, name.encode()) + field(2, operator.encode()) + named)


def saved_model(graph: bytes) -> bytes:
    about = field(1, field(4, b"serve") + field(5, b"2.15.0"))
    return field(1, 1) + field(2, about + field(2, graph))


def restored(count: int) -> bytes:
    """Many nodes that read the file that one long chain of others names."""
    chain = many(count // 2, lambda n: tf_node(f"c{n}", "Identity", [f"c{n - 1}" if n else "k"]))
    last = f"c{count // 2 - 1}"
    return (
        tf_node("k", "Const", [])
        + chain
        + many(count // 2, lambda n: tf_node(f"r{n}", "RestoreV2", [last]))
    )


def keras(config: object) -> bytes:
    return zipped(("config.json", json.dumps(config).encode()), ("model.weights.h5", b""))


def npz(count: int, header: bytes) -> bytes:
    return zipped(*((f"{n}.npy", header) for n in range(count)))


def npy(descr: str, shape: str, data: bytes = b"") -> bytes:
    words = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    words = words.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(words)) + words + data


MARKED = b"(" + b"K\x01" * 10 + b"t"
SHARED = PROTO + b"](" + b"K\x01" * 1000 + b"eq\x000"  # a list in the memo
NAMESPACE = b"ctypes\nSimpleNamespace\nq\x010"
# name: (the smallest size, the file's ending, what makes it)
KINDS: dict[str, tuple[int, str, Callable[[int], bytes]]] = {
    "lists": (95_000, "pkl", lambda n: listed(b"]" * n)),
    "lists within lists": (95_000, "pkl", lambda n: listed(b"](]e" * n)),
    "dicts": (24_000, "pkl", lambda n: listed(b"}" * n)),
    "tuples": (60_000, "pkl", lambda n: listed(b"K\x01\x85" * n)),
    "tuples as keys": (20_000, "pkl", lambda n: PROTO + b"}(" + (MARKED + b"N") * n + b"u."),
    "sets": (30_000, "pkl", lambda n: listed(b"\x8f" * n)),
    "small integers": (200_000, "pkl", lambda n: listed(b"K\x01" * n)),
    "floats": (100_000, "pkl", lambda n: listed((b"G" + bytes(8)) * n)),
    "big integers": (260, "pkl", lambda n: listed((b"\x8a\xff" + b"\x7f" * 255) * n)),
    "a big integer, again and again": (
        4_000,
        "pkl",
        lambda n: PROTO + b"\x8a\xff" + b"\x7f" * 255 + b"q\x000](" + b"h\0" * n + b"e.",
    ),
    "integers in digits": (100, "pkl", lambda n: listed((b"L" + b"9" * 2000 + b"L\n") * n)),
    "big integers as keys": (
        260,
        "pkl",
        lambda n: (
            PROTO
            + b"}("
            + many(n, lambda i: b"\x8a\xff" + i.to_bytes(254, "little") + b"\x01N")
            + b"u."
        ),
    ),
    "short strings": (50_000, "pkl", lambda n: listed(b"\x8c\x01a" * n)),
    "a long string, again and again": (
        4_000,
        "pkl",
        lambda n: PROTO + text("a" * 10_000) + b"q\x000](" + b"h\0" * n + b"e.",
    ),
    "string keys": (
        50_000,
        "pkl",
        lambda n: PROTO + b"}(" + many(n, lambda i: b"\x8c\x06%06dN" % i) + b"u.",
    ),
    "names": (25_000, "pkl", lambda n: listed(many(n, lambda i: b"cm%d\nx\n" % i))),
    "calls": (25_000, "pkl", lambda n: listed(b"ccollections\nOrderedDict\n)R" * n)),
    "calls of one name": (
        25_000,
        "pkl",
        lambda n: PROTO + b"ccollections\nOrderedDict\nq\x000](" + b"h\0)R" * n + b"e.",
    ),
    "copies of a list": (
        200,
        "pkl",
        lambda n: SHARED + b"c__builtin__\nlist\nq\x010](" + b"h\x01h\0\x85R" * n + b"e.",
    ),
    "long arguments": (
        200,
        "pkl",
        lambda n: (
            PROTO
            + b"("
            + b"K\x01" * 1000
            + b"tq\x000ccollections\nCounter\nq\x010]("
            + b"h\x01h\0R" * n
            + b"e."
        ),
    ),
    "states": (
        400,
        "pkl",
        lambda n: (
            PROTO
            + b"}("
            + many(1000, lambda i: b"\x8c\x04%04dN" % i)
            + b"uq\x000"
            + NAMESPACE
            + b"]("
            + b"h\x01)Rh\0b" * n
            + b"e."
        ),
    ),
    "a list within lists, again and again": (
        400,
        "pkl",
        lambda n: SHARED + b"](" + b"](h\0e" * n + b"e.",
    ),
    "the memo": (
        30_000,
        "pkl",
        lambda n: PROTO + many(n, lambda i: b"Nr" + struct.pack("<I", i)) + b".",
    ),
    "pickles behind one another": (20_000, "pkl", lambda n: (PROTO + b"}.") * n),
    "pushed and dropped": (200_000, "pkl", lambda n: PROTO + b"N0" * n + b"N."),
    "arrays of joblib's": (
        1_000,
        "pkl",
        lambda n: listed(many(n, lambda i: b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}b")),
    ),
    "tensors without bytes": (
        3_000,
        "pt",
        lambda n: checkpoint(
            PROTO
            + b"}("
            + many(
                n,
                lambda i: (
                    text(f"w{i}")
                    + (
                        b"ctorch._utils\n_rebuild_tensor_v2\n((Vstorage\nctorch\nFloatStorage\nV%d\nVcpu\nK\0tQ"
                        b"K\0K\0\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR" % i
                    )
                ),
            )
            + b"u.",
            *((f"a/data/{i}", b"") for i in range(n)),
        ),
    ),
    "entries": (
        9_000,
        "pt",
        lambda n: checkpoint(PROTO + b"}.", *((f"a/data/{i}", b"") for i in range(n))),
    ),
    "entries to look into": (
        3_000,
        "pt",
        lambda n: checkpoint(PROTO + b"}.", *((f"a/code/{i}", b"N0" * 50) for i in range(n))),
    ),
    "a deflated pickle": (
        300_000,
        "pt",
        lambda n: checkpoint(PROTO + b"N0" * n + b"}.", method=zipfile.ZIP_DEFLATED),
    ),
    "deflated code": (
        8,
        "pt",
        lambda n: checkpoint(
            PROTO + b"}.",
            ("a/constants.pkl", PROTO + b")."),
            *((f"a/code/{i}.py", b"N0" * 100_000) for i in range(n)),
            method=zipfile.ZIP_DEFLATED,
        ),
    ),
    "refused, with pickles in it": (
        8,
        "pt",
        lambda n: zipped(
            *((f"a/{i}.pkl", b"N0" * 100_000) for i in range(n)), method=zipfile.ZIP_DEFLATED
        ),
    ),
    "names of a header": (
        25_000,
        "safetensors",
        lambda n: safetensors(
            {f"w{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(n)}
        ),
    ),
    "lines of metadata": (
        50_000,
        "safetensors",
        lambda n: safetensors(
            {
                "__metadata__": {f"k{i}": "v" for i in range(n)},
                "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            },
            bytes(4),
        ),
    ),
    "initializers": (
        19_000,
        "onnx",
        lambda n: onnx(
            many(n, lambda i: field(5, field(1, 0) + field(2, 1) + field(8, b"w%d" % i)))
        ),
    ),
    "nodes": (9_000, "onnx", lambda n: onnx(many(n, lambda i: node("Relu", ["x"], f"y{i}")))),
    "nodes that take all of ten": (4_000, "onnx", lambda n: onnx(fan(n))),
    "nodes within nodes": (4_000, "onnx", lambda n: onnx(branches(n))),
    "inputs of a node": (
        60_000,
        "onnx",
        lambda n: onnx(node("Sum", [f"i{i}" for i in range(n)], "y")),
    ),
    "properties": (
        30_000,
        "onnx",
        lambda n: (
            onnx(node("Relu", ["x"], "y")) + many(n, lambda i: field(14, field(1, b"k%d" % i)))
        ),
    ),
    "fields of no meaning": (
        200_000,
        "onnx",
        lambda n: onnx(node("Relu", ["x"], "y") + field(99, 1) * n),
    ),
    "nodes of TensorFlow": (
        10_000,
        "pb",
        lambda n: saved_model(many(n, lambda i: tf_node(f"n{i}", "Relu", ["x"]))),
    ),
    "file names from afar": (400, "pb", lambda n: saved_model(restored(n))),
    "layers": (
        8_000,
        "keras",
        lambda n: keras(
            {
                "class_name": "Sequential",
                "config": {
                    "layers": [
                        {
                            "class_name": "Dense",
                            "module": "keras.layers",
                            "config": {"name": f"d{i}"},
                        }
                        for i in range(n)
                    ]
                },
            }
        ),
    ),
    "lists of a configuration": (60_000, "keras", lambda n: keras({"a": [[]] * n})),
    "arrays without numbers": (3_000, "npz", lambda n: npz(n, npy("<f4", "(0,)"))),
    "arrays of objects": (2_000, "npz", lambda n: npz(n, npy("|O", "()", PROTO + b"}."))),
    "a pickle of objects": (
        100_000,
        "npy",
        lambda n: npy("|O", "()", PROTO + b"](" + b"]" * n + b"e."),
    ),
    "shards of an index": (
        30_000,
        "json",
        lambda n: json.dumps({"weight_map": {f"w{i}": "a.bin" for i in range(n)}}).encode(),
    ),
}
# Written by a library, each tensor with bytes of its own: never refused.
LIBRARY = """
import sys, torch, numpy, json
from safetensors.torch import save_file
out, count = sys.argv[1], int(sys.argv[2])
state = {f"model.layers.{i // 10}.block.{i % 10}.weight": torch.zeros(4, 4) for i in range(count)}
torch.save(state, f"{out}/torch.pth")
torch.save(state, f"{out}/torch-legacy.pth", _use_new_zipfile_serialization=False)
save_file(state, f"{out}/safetensors.safetensors")
numpy.savez(f"{out}/numpy.npz", **{k: v.numpy() for k, v in state.items()})
import onnx
from onnx import TensorProto, helper, numpy_helper
weights = [numpy_helper.from_array(v.numpy(), k) for k, v in state.items()]
port = lambda name: helper.make_tensor_value_info(name, TensorProto.FLOAT, [4, 4])
graph = helper.make_graph([helper.make_node("Sum", [*state, "x"], ["y"])], "g", [port("x")],
                          [port("y")], weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), f"{out}/onnx.onnx")
"""
TENSORS = 46_000


def apart(path: Path, make: Callable[[int], bytes], size: int) -> None:
    """Write a file in another process: what this one has held would count as its children's."""
    if (child := os.fork()) == 0:
        path.write_bytes(make(size))
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise RuntimeError(f"{path} could not be made")


def measured(path: Path) -> dict[str, Any]:
    """`interop inspect` of a file: its exit, seconds of the processor, megabytes at most."""
    read, write = os.pipe()
    command = [sys.executable, "-m", "interop", "inspect", str(path)]
    if (child := os.fork()) == 0:  # whose only child the command is, so that its peak is told
        process = subprocess.run(command, capture_output=True, check=False)
        import resource

        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        answer = {
            "exit": process.returncode,
            "over the limit": b"[pickle-over-limit]" in process.stderr,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "megabytes": used.ru_maxrss / 1024,
            "said": process.stderr.decode("utf-8", "replace")[-200:],
        }
        os.write(write, json.dumps(answer).encode())
        os._exit(0)
    os.close(write)
    answer = b""
    while piece := os.read(read, 1 << 16):
        answer += piece
    os.waitpid(child, 0)
    os.close(read)
    result: dict[str, Any] = json.loads(answer)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="these alone; nothing is stored")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    faults: list[str] = []
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        empty = Path(folder, "empty.pkl")
        empty.write_bytes(PROTO + b"}.")
        base = min((measured(empty) for _ in range(3)), key=lambda one: one["cpu_seconds"])
        results: dict[str, list[dict[str, Any]]] = {}
        for kind, (size, ending, make) in KINDS.items():
            if given.kinds and kind not in given.kinds:
                continue
            row = results[kind] = []
            for doubling in range(DOUBLINGS + 1):
                path = Path(folder, f"file.{ending}")
                apart(path, make, size << doubling)
                one = {"bytes": path.stat().st_size, **measured(path)}
                row.append(one)
                path.unlink()
            faults += (fault := judged(kind, row, base["cpu_seconds"]))
            print(f"{kind:38}", *(shown(one) for one in row), *("!" for _ in fault[:1]), flush=True)
        library = {} if given.kinds else of_libraries(Path(folder))
        faults += [f"{name} is refused" for name, one in library.items() if one["exit"] == 2]
    print(*faults, sep="\n")
    if not given.kinds:
        for row in (*results.values(), list(library.values())):
            for one in row:
                del one["said"]
        limits = {"seconds": SECONDS, "megabytes": MEGABYTES}
        found = {"empty": base, "kinds": results, "library": library, "faults": faults}
        store("cost", {"machine": machine(), "limits": limits, **found})
    sys.exit(bool(faults))


def judged(kind: str, row: list[dict[str, Any]], base: float) -> list[str]:
    """What is not as it should be."""
    faults = []
    for one in row:
        if one["cpu_seconds"] > SECONDS or one["megabytes"] > MEGABYTES:
            faults.append(f"{kind}: {shown(one)} of {one['bytes']:,} bytes")
        if one["exit"] == 4:
            faults.append(f"{kind}: a crash: {one['said']}")
    for one, two in pairwise(row):
        # Below a tenth of a second it is noise that is compared.
        before, after = (max(each["cpu_seconds"] - base, 0.1) for each in (one, two))
        if after > GROWTH * before:
            faults.append(f"{kind}: {after / before:.1f} times the cost for twice the size")
    return faults


def shown(one: dict[str, Any]) -> str:
    mark = "L" if one["over the limit"] else str(one["exit"])
    return f"{one['cpu_seconds']:.2f} s {one['megabytes']:.0f} MB {mark};"


def of_libraries(folder: Path) -> dict[str, dict[str, Any]]:
    subprocess.run([sys.executable, "-c", LIBRARY, str(folder), str(TENSORS)], check=True)
    results = {}
    for path in sorted(folder.glob("*.*")):
        if path.stem in ("torch", "torch-legacy", "safetensors", "numpy", "onnx"):
            one = results[path.stem] = {"bytes": path.stat().st_size, **measured(path)}
            print(f"{TENSORS:,} tensors, {path.stem:20}", shown(one), flush=True)
    return results


if __name__ == "__main__":
    main()
