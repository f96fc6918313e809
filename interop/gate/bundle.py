"""A bundle folder -> the proof that its files have the bytes that its receipt has the hashes of.

Reads files and nothing else: no torch, and no code of the bundle.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

from interop.errors import ReadError
from interop.facts import AxisDomain, AxisState, Json, Proof, ProofName
from interop.reading import read
from interop.reading.bytes import json_text, location
from interop.reading.bytes.address import is_remote
from interop.reading.bytes.links import climbs
from interop.reading.bytes.source import Source
from interop.reading.companion_files import RECEIPT, named_by
from interop.records import replace

GRAPH = "model.onnx"
_MAX_RECEIPT = 1 << 26


def sealed(path: str) -> Proof | None:
    """Proves "files" of a bundle; None where `path` is no folder with a receipt."""
    if not location.is_folder(path) or RECEIPT not in (there := location.names(path)):
        return None
    began = perf_counter()
    try:
        receipt: Any = json_text.loads(location.text(location.joined(path, RECEIPT), _MAX_RECEIPT))
        files = receipt["files"]
        hashes = dict(files) if all(isinstance(x, str) for x in files.values()) else None
    except (ReadError, ValueError, KeyError, TypeError, AttributeError):
        hashes = None
    if not hashes:
        what = f"{RECEIPT} is no receipt: it names no files with their hashes"
        return Proof(ProofName.FILES, False, what, {}, perf_counter() - began)
    faults = {n: why for n, digest in hashes.items() if (why := _fault(path, n, digest))}
    domain: tuple[AxisDomain, ...] = ()
    if not faults:
        try:
            domain = domain_of(path, receipt)
        except ReadError as error:
            faults[RECEIPT] = error.what
    known = {n.partition("/")[0] for n in hashes}
    more = sorted(n for n in there if n not in known and n != RECEIPT and n[0] != ".")
    what = "; ".join(f"{name} {why}" for name, why in faults.items())
    if not faults:
        what = f"all {len(hashes)} files have the bytes that were proved"
        what += f"; not of the bundle: {', '.join(more)}" if more else ""
    # A server has to know these sizes: each axis that is not open counts as asked for.
    facts: Mapping[str, Json] = {
        "faults": faults,
        "more": more,
        "domain": [axis.json() for axis in domain],
        "asked": sorted({a.name for a in domain if a.state is AxisState.RESTRICTED}),
    }
    return Proof(ProofName.FILES, not faults, what, facts, perf_counter() - began)


def domain_of(folder: str, receipt: Mapping[str, Json]) -> tuple[AxisDomain, ...]:
    """The sizes that a bundle's receipt says were proved; () where none are stated.

    The graph says them too: whoever changed one of the two has to be noticed. An older receipt is
    silent, and then the graph's own count. Raises ReadError
    where they differ, or where what the receipt says cannot be.
    """
    where, fix = location.joined(folder, RECEIPT), "export it again"
    stated = receipt.get("domain", [])
    graph = location.joined(folder, GRAPH)
    own = None
    with suppress(ReadError):  # what is no graph states nothing
        own = read(graph).metadata.get("domain") if location.exists(graph) else None
    try:
        domain = tuple(AxisDomain.from_json(axis) for axis in stated)
        plain = tuple(replace(axis, why="") for axis in domain)
        inner = None if own is None else tuple(map(AxisDomain.from_json, _listed(own)))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        what = f"states sizes that cannot be ({error})"
        raise ReadError(what, where=where, fix=fix) from None
    if "domain" not in receipt:
        return inner or ()
    if inner is not None and inner != plain:
        raise ReadError(f"states other sizes than {GRAPH} does", where=where, fix=fix)
    return domain


def lost(path: str, baseline: str) -> Proof | None:
    """The proof "files" of a folder that should have a receipt and has none, which fails: the
    baseline is a bundle, or its graph has its weights in model.safetensors, as a bundle's has. None
    where there is a receipt, or none is to be expected."""
    if (
        is_remote(path)
        or not location.is_folder(path)
        or RECEIPT in (there := location.names(path))
    ):
        return None
    if not is_remote(baseline) and location.exists(location.joined(baseline, RECEIPT)):
        why = "the baseline is a bundle with its receipt"
    elif "model.onnx" in there and "model.safetensors" in named_by(Path(path, "model.onnx")):
        why = "its model.onnx has its weights in model.safetensors, as a bundle's has"
    else:
        return None
    what = f"{RECEIPT} is missing: {why}, and nothing proves these files"
    return Proof(ProofName.FILES, False, what, {"faults": {RECEIPT: "is missing"}}, 0.0)


def _through_link(folder: str, name: str) -> bool:
    """Whether a path within a folder is a link, or goes through one."""
    path = Path(folder, name)
    steps = [path, *path.parents][: len(Path(name).parts)]
    # Of a name that is too long for a file, pathlib raises an error.
    return any(os.path.islink(step) for step in steps)  # noqa: PTH114


def _listed(domain: Json) -> list[Any]:
    """The sizes that a graph's metadata hold as JSON."""
    axes: Any = json_text.loads(str(domain))
    return list(axes)


def _fault(folder: str, name: str, digest: str) -> str:
    path = location.joined(folder, name)
    if climbs(name) or "\\" in name or (not is_remote(path) and _through_link(folder, name)):
        return "is not a plain path of a file in the bundle"
    if not location.exists(path):
        return "is missing"
    try:
        with Source(path) as source:
            same = source.sha256() == digest
    except ReadError as error:
        return f"cannot be read ({error.what})"
    return "" if same else "has other bytes than when it was proved"
