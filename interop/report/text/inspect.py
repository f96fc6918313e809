"""What one file is, for a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from interop.facts import Danger, Evidence, HeadInput, HeadKind, HeadRole, Input, Json, Report
from interop.facts.sections.check import InspectSection, TensorRow
from interop.report.swept import is_swept
from interop.report.table import table
from interop.report.text import fed
from interop.report.text.measurements import measured_blocks
from interop.report.text.shared import finding_lines, listing, short_name
from interop.report.units import in_bytes

MOST_STATE_DICTS, MOST_NAMES, MOST_HEADS = 8, 12, 6


def blocks(report: Report) -> Iterable[list[str]]:
    if is_swept(report):
        from interop.report.text import sweep

        return sweep.blocks(report)
    section = report.section(InspectSection)
    listed = section.tensors or {}
    more = len(report.inputs) - MOST_STATE_DICTS
    return [
        *(_file(i) for i in report.inputs[:MOST_STATE_DICTS]),
        [f"and {more} more state dicts (--format json has all)"] if more > 0 else [],
        *(fed.blocks(section.fed) if section.fed is not None else ()),
        *measured_blocks(report),
        *(_tensors(place, rows) for place, rows in listed.items()),
        finding_lines(report),
    ]


def _tensors(place: str, tensors: Sequence[TensorRow]) -> list[str]:
    """A line a tensor: what it is, what shares its bytes, and what its values range over."""
    first: dict[str, str] = {}
    rows = []
    for t in tensors:
        shape = f"({', '.join(map(str, t.shape))}{',' * (len(t.shape) == 1)})"
        words = [t.layout, t.quantizer, ", ".join(part.name for part in t.parts or ())]
        if t.storage is not None:
            owner = first.setdefault(str(t.storage[:3]), t.name)
            words.append(f"shares {owner}" if owner != t.name else "")
        words += [word for word in ("conj", "neg", "constant") if getattr(t, word)]
        words += [f"{count} {word}" for word in ("nan", "inf") if (count := getattr(t, word))]
        if isinstance(t.minimum, float | int):
            words.append(f"{t.minimum:.4g} to {t.maximum:.4g}")
        rows.append([short_name(t.name, 40), t.dtype, shape, ", ".join(filter(None, words))])
    head = [f"tensors of {place}" if place else "tensors", "dtype", "shape", ""]
    return table([head, *rows])


def _file(given: Input) -> list[str]:
    f = given.facts
    rows = [["file", given.path], ["container", f"{f['container']}, {in_bytes(f['bytes'])}"]]
    places = f["state_dicts"]
    if len(places) > 1:
        rows.append(["state dicts", listing(places, lambda p: p or "(top level)")])
    if f["place"] or f["prefix"]:
        rows.append(["wrapper", " ".join(x for x in (
            f"under {f['place']!r}" if f["place"] else "",
            f"prefix {f['prefix']!r}" if f["prefix"] else "") if x)])  # fmt: skip
    rows += _of_what(f)
    weights = [f"{f['weights']:,} in {f['tensors']} tensors", *f["dtypes"]]
    rows.append(["weights", listing(weights)])
    labels = f["labels"]
    if labels["names"] is not None:
        rows.append(["labels", f"{listing(labels['names'])} ({labels['source']})"])
    else:
        why = f" ({labels['source']})" if labels["source"] else ""
        rows.append(["labels", ("unknown" if labels["applicable"] else "not applicable") + why])
    pre = f["preprocessing"]
    rows.append(["preprocessing", _preprocessing(pre) if pre else "unknown"])
    said = f["imprint"]["says"] if f.get("imprint") else ()
    rows += [["" if n else "remembered", words] for n, words in enumerate(said)]
    if f["graph"]:
        g = f["graph"]
        for kind in ("inputs", "outputs"):
            rows.append([kind, listing(g[kind], _port, "; ")])
        opsets = listing(g["opsets"].items(), lambda o: f"{o[0] or 'ai.onnx'} {o[1]}")
        rows.append(["opset", opsets])
    rows += _parts(f)
    if f["metadata"]:
        rows.append(["metadata", listing(f["metadata"].items(), _entry)])
    if f["held_aside"]:
        rows.append(["held aside", listing(f["held_aside"])])
    by_danger: dict[str, list[str]] = {}
    brought = []
    for one in f["imports"]:
        if f["container"] == "torchscript" and one["name"].startswith("__torch__."):
            brought.append(one["name"].removeprefix("__torch__."))
        else:
            by_danger.setdefault(one["danger"], []).append(one["name"])
    if brought:
        more = f" and {len(brought) - 1} more classes" if len(brought) > 1 else ""
        rows.append(["program", f"its own TorchScript: {brought[0]}{more}"])
    for danger, word in (
        (Danger.UNSAFE, "would run"),
        (Danger.CODE, "would import"),
        (Danger.REFUSED, "harmless names"),
    ):
        if danger in by_danger:
            names = by_danger[danger]
            # What would run is shown to the last; of classes that are imported a few tell enough.
            most = len(names) if danger == Danger.UNSAFE else MOST_NAMES
            rest = f" and {len(names) - most} more" if len(names) > most else ""
            rows.append([word, ", ".join(names[:most]) + rest])
    if opened := f.get("opened"):
        rows.append(["would read", listing(opened)])
    if set(by_danger) == {Danger.SAFE}:
        rows.append(["code", "none: it imports only what rebuilds tensors"])
    elif not by_danger:
        rows.append(["code", "none"])
    return table(rows)


def _parts(f: Mapping[str, Json]) -> list[list[str]]:
    """The other files of the folder by what they are for, and the modules in the order they run."""
    rows = []
    if chained := f.get("modules"):
        words = [m["type"].rpartition(".")[2] or m["path"] for m in chained]
        rows.append(["modules", listing(words, between=" > ")])
    by_kind: dict[str, list[str]] = {}
    for part in f.get("parts", ()):
        fault = f" ({part['fault']})" if part.get("fault") else ""
        by_kind.setdefault(part["kind"], []).append(f"{part['path']}{fault}")
    for n, (kind, paths) in enumerate(by_kind.items()):
        more = f" and {len(paths) - MOST_NAMES} more" if len(paths) > MOST_NAMES else ""
        rows.append(["" if n else "parts", f"{kind}: {', '.join(paths[:MOST_NAMES])}{more}"])
    return rows


def _of_what(f: Mapping[str, Json]) -> list[list[str]]:
    """The architecture, what comes next to it, its sizes and its heads."""
    rows = [["what", f["kind"]]] if f["kind"] else []
    rows.append(["architecture", _architecture(f)])
    if pickled := f.get("pickled_module"):
        rows.append(["module", _pickled(pickled)])
    if f["root"]:
        rows.append(["", f"within module {f['root']!r}"])
    sizes = f["architectures"][0]["sizes"] if f["architectures"] else {}
    if sizes:
        rows.append(["sizes", ", ".join(f"{k} {v:,}" for k, v in sizes.items())])
    rows += _confidence(f)
    for n, b in enumerate(f["blocks"]):
        times = f", {b['count']} times" if b["count"] > 1 else ""
        wide = f", {b['widths'][0]} -> {b['widths'][1]}" if b["widths"] else ""
        words = f"{short_name(b['path'], 50)}{times}: {b['weights']:,}{wide}"
        rows.append(["" if n else "blocks", words])
    sides = [h for h in f["side_heads"] if h["role"] != HeadRole.BESIDE]
    heads = [*([f["head"]] if f["head"] else []), *sides]
    bare = "none: a backbone alone" if f["architectures"] else "not found"
    rows += _listed("head", heads, "heads") or [["head", bare]]
    return rows + _listed("beside it", [h for h in f["side_heads"] if h not in sides], "modules")


def _pickled(given: Mapping[str, Json]) -> str:
    """A pickled module's class, and the layers that are in it, the most frequent first."""
    counts = [(kind.rpartition(".")[2], n) for kind, n in given["classes"].items()]
    words = [f"{n} {name}" for name, n in counts if name not in _HOLDERS and n > 1]
    more = ", …" if len(words) > MOST_HEADS else ""
    return (
        f"{given['type']} ({given['modules']} modules"
        f"{': ' * bool(words)}{', '.join(words[:MOST_HEADS])}{more})"
    )


def _listed(word: str, heads: list[dict[str, Json]], what: str) -> list[list[str]]:
    rows = [["" if n else word, _head_words(h)] for n, h in enumerate(heads[: MOST_HEADS + 1])]
    if (more := len(heads) - MOST_HEADS - 1) > 0:
        rows.append(["", f"and {more} more {what} (--format json has all)"])
    return rows


def _confidence(f: Mapping[str, Json]) -> list[list[str]]:
    """How much of the weights speak for the answer, and for the next one."""
    near = f["runner_up"]
    words = f"{near['name']}, {_percent(near['share'])} of the weight bytes" if near else ""
    if not f["architectures"]:
        return [["closest known", words]] if near else []
    share = _percent(f["architectures"][0]["share"])
    other = f"runner-up {words}" if near else "no other comes near"
    return [["confidence", f"{share} of the backbone's weight bytes; {other}"]]


def _head_words(h: Mapping[str, Json]) -> str:
    role = f"{h['role']}: " if h["role"] not in ("", HeadRole.CLASSES, HeadRole.BESIDE) else ""
    if h["kind"] == HeadKind.REMOVED:
        return f"{role}{h['path']} is gone"
    what = f"{h['kind']}, {_TAKES[h['takes']]}" if h["takes"] in _TAKES else h["kind"]
    widths = f", {h['in_width'] or '?'} -> {h['outputs'] or '?'}"
    known = widths if h["in_width"] or h["outputs"] else ""
    why = f" ({h['evidence']})" if h["role"] != HeadRole.BESIDE else ""
    return f"{role}{h['path']} ({what}){known}{why}"


# Modules that only hold others.
_HOLDERS = ("Sequential", "ModuleList", "ModuleDict")
_TAKES = {
    HeadInput.AVERAGE: "of pooled features",
    HeadInput.TOKEN: "of the class token",
    HeadInput.FLAT: "of a flattened map",
    HeadInput.MAP: "of a feature map",
    HeadInput.SEQUENCE: "of each token",
}


def _percent(share: float) -> str:
    # Nothing but all of it is 100 %.
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.3g} %"


def _architecture(f: Mapping[str, Json]) -> str:
    architectures = f["architectures"]
    if not (names := [a["name"] for a in architectures]):
        return "unknown" + (f" ({f['ambiguity']})" if f["ambiguity"] else "")
    if len(names) > 1:
        most = 6
        more = f" and {len(names) - most} more" if len(names) > most else ""
        assumed = f"; {f['would_assume']} is assumed to build one" if "would_assume" in f else ""
        return (
            f"one of {', '.join(names[:most])}{more}; what differs is not in the weights: "
            f"{f['ambiguity']} (--arch says which{assumed})"
        )
    also = architectures[0]["also"]
    same = f", the same as {', '.join(also[:3])}" if also else ""
    same += f" and {len(also) - 3} more" if len(also) > 3 else ""
    doubt = f"; {f['ambiguity']}" if f["ambiguity"] else ""
    return f"{names[0]}{same} (by {architectures[0]['evidence']}{doubt})"


def _preprocessing(pre: dict[str, Json]) -> str:
    if pre.get("kind", "image") != "image":
        skip = ("kind", "source", "evidence")
        parts = (f"{k.replace('_', ' ')} {_how(v)}" for k, v in pre.items() if k not in skip)
        return f"{pre['kind']}, {', '.join(parts)} ({_source(pre)})"
    size = "x".join(map(str, pre["resize"]))
    crop = f", crop {'x'.join(map(str, pre['crop']))}" if pre.get("crop") else ""
    mean, std = (", ".join(f"{v:g}" for v in pre[k]) for k in ("mean", "std"))
    scale = f", scale {pre['scale']:g}" if "scale" in pre else ""
    scale += "" if pre.get("antialias", True) else ", no antialiasing"
    return (
        f"{pre['color']}, resize {size} {pre['interpolation']}{crop}, "
        f"mean {mean}, std {std}{scale} ({_source(pre)})"
    )


def _source(pre: Mapping[str, Json]) -> str:
    """Where a preprocessing was learned, and whether somebody stated it at all."""
    evidence = pre.get("evidence", Evidence.STATED)
    known = evidence == Evidence.STATED or pre["source"].startswith(evidence)
    return str(pre["source"]) if known else f"{evidence}, {pre['source']}"


def _how(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "/".join(map(str, value))
    text = str(value)
    return text[:12] if len(text) == 64 else text  # a hash by its beginning


def _port(port: Sequence[Json]) -> str:
    """An input or output of a graph: its name, its type, and its shape as far as it is short."""
    name, dtype, shape = port
    return f"{name} {dtype} ({listing(shape)})"


def _entry(entry: tuple[str, Json]) -> str:
    """A key of metadata with its value, if that is short."""
    key, value = entry
    if isinstance(value, (dict, list)):
        return f"{key} ({len(value)} entries)"
    text = str(value)
    return f"{key} = {text if len(text) <= 40 else text[:39] + '…'}"
