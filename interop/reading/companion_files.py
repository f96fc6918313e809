"""A model file -> the files beside it that say what it is (config.json) or hold its weights.

By names alone, where a commit's tree is all that there is; by what the file itself names, where it
lies on this machine.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from interop.errors import ReadError
from interop.facts import Json, PartKind
from interop.reading import folder as folders
from interop.reading import parts
from interop.reading.bytes import json_text

RECEIPT = "interop.json"
_READ = frozenset((*folders.DESCRIPTIONS, *folders.LINES)) - {RECEIPT}
# These, and the parts that libraries keep beside a model: tokenizer, processor, configs.
DESCRIPTIONS = frozenset((*_READ, RECEIPT, *parts.BESIDE))
# Files of these endings are models, or are meant to be.
ENDINGS = (".safetensors", ".pth", ".pt", ".pth.tar", ".ckpt", ".th", ".ts", ".onnx", ".pt2",
           ".keras")  # fmt: skip
PICKLES = folders.PICKLES
INDEX = re.compile(r"(.+)\.(safetensors|bin)\.index\.json")
# What lies beside a graph and holds no tensors of it. Any other name may: older exporters write a
# file a tensor, under the tensor's name.
_WORDS = (".md", ".rst", ".txt", ".json", ".toml", ".yaml", ".yml", ".cfg", ".ini", ".lock",
          ".py", ".sh", ".ipynb", ".html", ".csv", ".tsv", ".pdf", ".png", ".jpg", ".jpeg", ".svg",
          ".gif")  # fmt: skip
_NAMED = ("license", "notice", "readme", "makefile", "dockerfile", ".")
# A folder with one of these is read as a whole, every file of it.
_ALL = (RECEIPT, "saved_model.pb", ".metadata")
_MOST_LIST = 1 << 26  # bytes of an index of shards


def by_name(name: str, there: Collection[str]) -> list[str]:
    """Which of the names in a model file's folder belong to it, as far as names tell."""
    names = [n for n in DESCRIPTIONS if n in there and n != name]
    if name.lower().endswith(".onnx"):
        names += [n for n in there if n not in names and _may_hold(n, name)]
    elif index := INDEX.fullmatch(name):
        shard = re.compile(re.escape(index[1]) + r"-\d+-of-\d+\." + index[2])
        names += [n for n in there if shard.fullmatch(n)]
    elif name.endswith(".index"):
        names += [n for n in there if n.startswith(f"{name.removesuffix('.index')}.data-")]
    return sorted(names)


def loose(name: str) -> bool:
    """Whether a file may hold weights of any graph beside it, as far as its name tells."""
    return _holds(name.lower()) and not name.lower().endswith(ENDINGS)


def _may_hold(name: str, graph: str) -> bool:
    low, stem = name.lower(), graph[: -len(".onnx")]
    if name == graph or not _holds(low):
        return False
    if low.endswith(ENDINGS):  # a bundle's graph has its weights in the safetensors of its name
        return name.startswith(f"{stem}.") and not low.endswith(".onnx")
    return True


def _holds(low: str) -> bool:
    return not low.startswith(_NAMED) and not low.endswith(_WORDS)


def named_by(file: Path) -> list[str]:
    """The files that a model file on this machine says its weights lie in, by their path from its
    folder; they need not be there. What leads out of the folder is left out: readers refuse it."""
    try:
        if file.name.lower().endswith(".onnx"):
            from interop.reading.formats import onnx

            places = onnx.locations(str(file))
        elif INDEX.fullmatch(file.name):
            places = list(_shards(file))
        else:
            return []
    except (ReadError, OSError, ValueError):  # whoever reads the model says what is wrong with it
        return []
    within = (PurePosixPath(place) for place in places)
    return sorted(
        {str(p) for p in within if p.parts and not p.is_absolute() and ".." not in p.parts}
    )


def _shards(file: Path) -> Iterable[str]:
    if file.stat().st_size > _MOST_LIST:
        return ()
    listed = json_text.loads(file.read_text("utf-8"))
    weights = listed.get("weight_map") if isinstance(listed, dict) else None
    return {str(v) for v in weights.values()} if isinstance(weights, dict) else ()


def described(file: Path) -> dict[str, Json]:
    """What the descriptions in a model file's folder say, each under its name; what is no JSON is
    another program's."""
    descriptions: dict[str, Json] = {}
    for name in sorted(_READ):
        place = file.parent / name
        try:
            if place.is_file() and place.stat().st_size <= _MOST_LIST:
                text = place.read_text("utf-8").strip()
                descriptions[name] = (
                    text.split("\n") if name in folders.LINES else json_text.loads(text)
                )
        except (OSError, ValueError):
            continue
    return descriptions


def read_of(names: Collection[str]) -> set[str] | None:
    """Which files of a folder its reader goes by, its parts included, so that the others need not
    be fetched; by their paths in the folder. None for all."""
    if set(names) & set(_ALL):
        return None
    of_parts = {n for n in names if _is_part(n)}
    names = [n for n in names if "/" not in n]
    first = next((n for n in (*folders.PREFERRED, *folders.INDEXES) if n in names), None)
    if first is None:
        return None
    graph = {"model.onnx"} & set(names)
    beside = {n for graph_name in graph for n in by_name(graph_name, names)}
    return {first, *graph, *beside, *by_name(first, names), *of_parts}


def _is_part(path: str) -> bool:
    """Whether a file is compared as a part; other formats of the weights need not be there."""
    name = path.rpartition("/")[2]
    return not parts.is_ignored(name) and parts.kind_of(path) is not PartKind.COPY
