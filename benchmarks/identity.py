"""How often is a state dict named rightly, whatever became of its head? -> results/identity.json.

    python -m benchmarks.identity [--library torchvision|timm|transformers] [--every N]

Over every model of the index's libraries, built anew without weights: the head kept, replaced by
one layer of another width, by Sequential(Dropout, Linear), by an MLP; removed; the backbone within
a module of somebody's own; and a training checkpoint (a wrapper's prefix, names sorted). Each is

- unique: one architecture is named, and it is the right one (or another name of its computation);
- class: several are named, the right one among them, with what tells them apart;
- missed: none is named;
- wrong: what is named is not what it is. Must be 0.

Where the head is gone, or is one's own, the right answer for a transformers class is its headless
model, or a class that holds the very same tensors. Beside it: the CPU time that identity takes, and
what it adds to a whole process that reads a file (`added`).
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

from benchmarks.process import interleaved, machine, store
from interop.facts import Identity, Manifest, StateDict, TensorSpec
from interop.identity import identify, with_runner_up
from interop.identity.index import lookup
from interop.identity.index.build import IndexEntry
from interop.identity.index.match import family
from interop.models import catalog

REPEATS = 15
GOAL_MS = 60
KINDS = ("unique", "class", "missed", "wrong")
Shapes = dict[str, tuple[int, ...]]


def variants(entry: IndexEntry) -> Iterator[tuple[str, Shapes, int | None]]:
    """What people do to a model: (how, the state dict, how many outputs its head now has)."""
    whole = dict(entry.shapes)
    yield "kept", whole, None
    yield "training checkpoint", {f"module.{n}": whole[n] for n in sorted(whole)}, None
    if not entry.heads:
        return
    path = entry.heads[0][0]
    own = {n: s for n, s in whole.items() if lookup.under(n, path)}
    matrices = [s for s in own.values() if len(s) > 1]
    body = {n: s for n, s in whole.items() if n not in own}
    if not matrices:
        return
    width, tail = matrices[0][1], matrices[-1][2:]
    yield "removed", body, 0
    one = {f"{path}.weight": (7, width, *tail), f"{path}.bias": (7,)}
    yield "other classes", {**body, **one}, 7
    deep = {f"{path}.1.weight": (7, width), f"{path}.1.bias": (7,)}
    yield "Sequential(Dropout, Linear)", {**body, **deep}, 7
    mlp = {f"{path}.0.weight": (64, width), f"{path}.0.bias": (64,)}
    yield "MLP", {**body, **mlp, f"{path}.3.weight": (7, 64), f"{path}.3.bias": (7,)}, 7
    wrapped: Shapes = {f"backbone.{n}": s for n, s in body.items()}
    yield "wrapped", {**wrapped, "classify.weight": (7, width), "classify.bias": (7,)}, 7


def judged(entry: IndexEntry, how: str, seen: Identity, outputs: int | None) -> str:
    """One of KINDS; a head that is found with other outputs than it has is wrong too."""
    names = {n for a in seen.architectures for n in (a.name, *a.also)}
    if not names:
        return "missed"
    right = entry.name in names
    if entry.library == "transformers" and how not in ("kept", "training checkpoint"):
        # The head is not the class's any more; which backbone it is must still be right.
        backbone = lookup.load().bases.get(entry.name, entry.name)
        right = right or family(backbone) in {family(n) for n in names}
    if not right:
        return "wrong"
    if outputs and (seen.head is None or seen.head.outputs != outputs):
        return "wrong"
    return "unique" if len(seen.architectures) == 1 else "class"


def manifest(shapes: Shapes) -> Manifest:
    tensors = tuple(TensorSpec(name, "float32", shape) for name, shape in shapes.items())
    return Manifest("x.pth", "x.pth", "torch-zip", 0, "", (StateDict("", tensors),))


def measure(libraries: list[str], every: int) -> dict[str, Any]:
    lookup.load()
    tables: dict[str, dict[str, Counter[str]]] = {}
    faults: list[list[str]] = []
    times: list[float] = []
    models: dict[str, int] = {}
    for library in libraries:
        table: dict[str, Counter[str]] = defaultdict(Counter)
        names = catalog.names(library)[::every]
        models[library] = len(names)
        for number, name in enumerate(names):
            for entry in catalog.entries(name):
                for how, shapes, outputs in variants(entry):
                    given = manifest(shapes)
                    start = process_time()
                    seen = with_runner_up(identify(given))
                    times.append(process_time() - start)
                    kind = judged(entry, how, seen, outputs)
                    table[how][kind] += 1
                    if kind in ("missed", "wrong"):
                        found = " or ".join(a.name for a in seen.architectures)
                        faults.append([kind, how, entry.name, found])
            if number % 50 == 0:
                print(f"{library} {number} of {len(names)}", file=sys.stderr, flush=True)
                gc.collect()
        tables[library] = table
    times.sort()
    return {
        "machine": machine(),
        "index": {"bytes": lookup.STORED.stat().st_size, **lookup.load().built_from},
        "models": models,
        "table": {
            library: {how: {k: row[k] for k in KINDS} for how, row in table.items()}
            for library, table in tables.items()
        },
        "wrong": sum(row["wrong"] for table in tables.values() for row in table.values()),
        "faults": faults,
        "milliseconds": {
            "median": 1e3 * times[len(times) // 2],
            "p99": 1e3 * times[int(len(times) * 0.99)],
            "largest": 1e3 * times[-1],
            "loading the index": _loading(),
        },
        "added": _added(),
    }


def _added() -> dict[str, float]:
    """CPU milliseconds that identity adds to a process that reads a checkpoint, by its model."""
    import torch

    read = "from interop.reading import read; import sys; m = read(sys.argv[1])"
    more = (
        read
        + "; from interop.identity import identify, with_runner_up; with_runner_up(identify(m))"
    )
    found = {}
    with TemporaryDirectory() as folder:
        for name in ("torchvision/resnet50", "timm/vit_base_patch16_224", "timm/resnetrs350"):
            file = str(Path(folder) / "model.pth")
            zero = torch.zeros(())
            shapes = catalog.entry(name).shapes
            torch.save({n: zero.expand(s) for n, s in shapes.items()}, file)
            runs = interleaved(
                {
                    "read": [sys.executable, "-c", read, file],
                    "both": [sys.executable, "-c", more, file],
                },
                REPEATS,
            )
            apart = runs["both"]["cpu_seconds"] - runs["read"]["cpu_seconds"]
            found[f"{name}, {len(shapes)} tensors"] = 1e3 * apart
    return found


def _loading() -> float:
    """CPU milliseconds to read the stored index, once a process; the best of a few."""
    best = 1e9
    for _ in range(5):
        lookup.load.cache_clear()
        start = process_time()
        found = lookup.load()
        _ = found.backbones, found.families, found.tables_of
        best = min(best, process_time() - start)
    return 1e3 * best


def show(result: dict[str, Any]) -> None:
    for library, table in result["table"].items():
        print(f"\n{library}, {result['models'][library]} models")
        print(f"{'head':30}" + "".join(f"{k:>9}" for k in KINDS))
        for how, row in table.items():
            print(f"{how:30}" + "".join(f"{row[k]:9}" for k in KINDS))
    print(
        f"\nwrong: {result['wrong']}", {k: round(v, 1) for k, v in result["milliseconds"].items()}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="How often is a state dict named rightly?")
    parser.add_argument("--library", action="append", choices=[*catalog.LIBRARIES])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth model")
    given = parser.parse_args()
    result = measure(given.library or [*catalog.LIBRARIES], given.every)
    show(result)
    if given.every == 1 and not given.library:
        store("identity", result)
    for fault in result["faults"][:20]:
        print(*fault, sep="  ")


if __name__ == "__main__":
    main()
