"""A Report -> what a person reads in a terminal: verdicts first, then why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from textwrap import wrap
from typing import TYPE_CHECKING

from interop.facts import AxisDomain, Finding, Input, Json, Measurement, Proof, Report
from interop.report.plain import one_name, plain
from interop.report.table import WIDTH, by_row, grid, shorten_path, table
from interop.report.units import at_of, in_bytes, quantity, spanned
from interop.report.words import headline, one_line

if TYPE_CHECKING:
    from interop.report.assessed import Assessed


def render(report: Report) -> str:
    """The report for a terminal; no colours, at most 80 columns."""
    shape = _SHAPES.get(report.command, _check)
    blocks = [b for b in shape(report) if b]
    return plain("\n\n".join("\n".join(block) for block in blocks)) + "\n"


MOST_STATE_DICTS, MOST_NAMES, MOST_HEADS = 8, 12, 6
_TRAINED = ("validation", "training")  # of a training: the curves have a table of their own
BESIDE = "beside"  # the role of a module beside the backbone that is not known to be a head


def _check(report: Report) -> list[list[str]]:
    return [
        _inputs(report),
        _verdicts(report),
        _heads(report.details.get("heads")),
        *_values(report.details.get("values")),
        _findings(report),
        _skipped(report),
    ]


def _inspect(report: Report) -> list[list[str]]:
    listed = report.details.get("tensors", {})
    more = len(report.inputs) - MOST_STATE_DICTS
    return [
        *(_file(i) for i in report.inputs[:MOST_STATE_DICTS]),
        [f"and {more} more state dicts (--format json has all)"] if more > 0 else [],
        *(_tensors(place, rows) for place, rows in listed.items()),
        _findings(report),
    ]


def _export(report: Report) -> list[list[str]]:
    d = report.details
    outcome = [f"wrote {d['bundle']}" if d.get("bundle") else "no bundle was written"]
    outcome += table([[f"  {name}", in_bytes(size)] for name, size in d.get("files", {}).items()])
    reasons: dict[str, list[str]] = {}
    for one in d.get("attempts", ()):
        reasons.setdefault(one["why"], []).append(one["route"])
    tried = [
        f"route{'s' * (len(some) > 1)} {' / '.join(some)} given up: {why}"
        for why, some in reasons.items()
    ]
    route = f", route {d['route']}" if "route" in d else ""
    times = (
        f"conversion {d['conversion_seconds']:.1f} s, proofs {d['proof_seconds']:.1f} s{route}"
        if "conversion_seconds" in d
        else ""
    )
    notes = [line for text in (*tried, *d.get("notes", ())) for line in wrap(text, WIDTH)]
    return [
        _inputs(report),
        _proofs(report.proofs),
        _domain(d.get("domain", ())),
        *_measured(report),
        _findings(report),
        notes,
        _departure(d.get("departure")),
        [*outcome, times],
    ]


def _verify(report: Report) -> list[list[str]]:
    notes = [line for text in report.details.get("notes", ()) for line in wrap(text, WIDTH)]
    domain = _domain(report.details.get("domain", ()))
    return [_inputs(report), _proofs(report.proofs), domain, _skipped(report), notes]


def _departure(found: Mapping[str, Json] | None) -> list[str]:
    """Where a graph parts from its module, and the folder that shows it."""
    if not found:
        return []
    lines = wrap(f"{found['runtime']}: {found['what']}", WIDTH)
    if found["node"]:
        of = f" of {found['module']} ({found['kind']})" if found["module"] else ""
        place = f", {found['source']}" if found["source"] else ""
        lines = wrap(f"first departs at {found['node']} ({found['operator']}){of}{place}", WIDTH)
        lines += wrap(found["what"], WIDTH)
    return [*lines, f"kept in {found['folder']}: run its reproduce.py"]


def _port(report: Report) -> list[list[str]]:
    d = report.details
    if not d.get("out"):
        outcome = ["no file was written"] if report.outcome == "no" else []
    else:
        outcome = wrap(f"wrote {d['out']}: {d['standing']}", WIDTH)
    if d.get("call"):
        said = "the module that it is proved for" if d["proved"] else "the module that takes it"
        outcome += wrap(f"{said}: {d['call']}", WIDTH, subsequent_indent="  ",
                        break_long_words=False, break_on_hyphens=False)  # fmt: skip
    notes = [line for text in d.get("notes", ()) for line in wrap(text, WIDTH)]
    return [_inputs(report), _proofs(report.proofs), _findings(report), notes, outcome]


def _bench(report: Report) -> list[list[str]]:
    compared = any(given.role == "old" for given in report.inputs)
    notes = [line for text in report.details.get("notes", ()) for line in wrap(text, WIDTH)]
    return [
        _inputs(report),
        _conditions(report),
        _moved(report.details.get("conditions changed")),
        *_measured(report),
        _findings(report),
        _skipped(report, "not compared" if compared else "not measured"),
        notes,
    ]


def _finetune(report: Report) -> list[list[str]]:
    from interop.report.learning import learning_table

    d = report.details
    shown = [m for m in report.measurements if m.conditions.get("group") in _TRAINED]
    notes = [line for text in d.get("notes", ()) for line in wrap(text, WIDTH)]
    resumed = ["went on where a run before had stopped"] if d.get("resumed") else []
    return [
        _inputs(report),
        _proofs(report.proofs),
        *learning_table(report),
        *_measured(replace(report, measurements=tuple(shown))),
        _findings(report),
        [*resumed, *notes],
        wrap(f"wrote {d['out']}", WIDTH) if d.get("out") else ["nothing was written"],
    ]


def _assess(report: Report) -> list[list[str]]:
    # What it lays out rests on this module's figures.
    from interop.report import assessed

    of_all = assessed.Assessed(report)
    said = [
        _prose(" ".join(assessed.answers(of_all))),
        _models(of_all, assessed.data_in_words(of_all)),
        _prose(" ".join(assessed.folds_in_words(of_all))) if of_all.main else [],
    ]
    for one in assessed.tables(of_all):
        head = ["*" if h == assessed.FRONT else h for h in one.head]
        rows = [[one_line(cell) for cell in row] for row in one.rows]
        first, *rest = grid(head, rows, one.figures)
        said += [[one.title.upper(), *first], *rest, _prose(one.note)]
        if one.title == assessed.INTERCHANGE:
            said += [_replacements(assessed.sentences(of_all), assessed.MOST_SENTENCES)]
            said += [_prose(assessed.about_p(of_all))]
    return [*said, _prose("\n".join(map(one_line, assessed.notes(report))))]


def _prose(text: str) -> list[str]:
    """Text that fills lines; a line of its own for each that it has."""
    return [
        line
        for part in text.splitlines()
        for line in wrap(plain(part), WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    ]


def _models(of_all: Assessed, data: str) -> list[str]:
    """Each model by its place, in full; and the data."""
    lines = []
    for name in of_all.names:
        given = of_all.given(name)
        words = [of_all.known_as(name), *([given.path, given.summary] if given else ())]
        lines += _prose("  ".join(map(one_line, words)))
    return lines + (_prose(f"data  {one_line(data)}") if data else [])


def _replacements(found: Sequence[tuple[str, str]], most: int) -> list[str]:
    lines = []
    for word, sentence in found[:most]:
        text = f"{word.ljust(3)}  {one_line(sentence)}"
        lines += wrap(text, WIDTH, subsequent_indent=" " * 5, break_on_hyphens=False)
    more = len(found) - most
    return [*lines, *([f"and {more} more (--report json:PATH has all)"] if more > 0 else ())]


def _moved(found: Mapping[str, Json] | None) -> list[str]:
    """The conditions that two runs do not have in common."""
    if not found:
        return []
    shown = {k: ["-" if v is None else str(v) for v in pair] for k, pair in found.items()}
    return table([["not the same", "old, new"], *([k, " -> ".join(v)] for k, v in shown.items())])


def _gate(report: Report) -> list[list[str]]:
    first = wrap(headline(report), WIDTH, subsequent_indent="      ")
    evidence = report.details.get("evidence") or {}
    policy = {"policy": report.details["policy"]} if "policy" in report.details else {}
    shown = table([[k, one_name(str(v))] for k, v in {**policy, **evidence}.items()])
    if others := report.details.get("other_intents"):
        line = f"not asked by this policy: {', '.join(others)}"
        shown += wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return [
        first,
        _inputs(report),
        _verdicts(report),
        _proofs(report.proofs),
        *_measured(report),
        _findings(report),
        shown,
    ]


def _doctor(report: Report) -> list[list[str]]:
    d = report.details
    packages = [["package", "version"], *([k, v] for k, v in d["packages"].items())]
    providers = [
        [name, "loads" if state is True else f"does not load{f': {state}' if state else ''}"]
        for name, state in d["providers"].items()
    ]
    lines = [f"GPU: {d['gpu'] or 'none'}"] if d["run"] else []
    if not d["run"]:
        lines.append("the light install: inspect, check, gate and explain work here;")
        lines.append("export and bench need: pip install 'model-interop[run]'")
    problems = [
        line for what, fix in d["problems"] for line in table([["problem", what], ["    fix", fix]])
    ]
    return [
        table(packages),
        table([["execution provider", ""], *providers]) if providers else [],
        lines,
        problems or ["no conflicts"],
    ]


_SHAPES: dict[str, Callable[[Report], list[list[str]]]] = {
    "check": _check,
    "inspect": _inspect,
    "export": _export,
    "verify": _verify,
    "port": _port,
    "bench": _bench,
    "finetune": _finetune,
    "assess": _assess,
    "gate": _gate,
    "doctor": _doctor,
}


# ---------------------------------------------------------------- blocks


def _inputs(report: Report) -> list[str]:
    rows = [[i.role, shorten_path(i.path, 34)] for i in report.inputs]
    if not rows:
        return []
    role, path = (max(len(r[n]) for r in rows) for n in (0, 1))
    lines: list[str] = []
    for given in report.inputs:
        front = f"{given.role.ljust(role)}  {shorten_path(given.path, 34).ljust(path)}  "
        if len(front) + len(given.summary) <= WIDTH:
            lines.append((front + given.summary).rstrip())
        else:
            lines.append(front.rstrip())
            indent = " " * (role + 2)
            lines += wrap(given.summary, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return lines


def _verdicts(report: Report) -> list[str]:
    return table([[str(v.intent), str(v.answer), v.why] for v in report.verdicts])


def _heads(found: Mapping[str, Json] | None) -> list[str]:
    """Whether B's head would fit A's backbone, where that is known; what the rows tell."""
    if not found or (found["alike"] and not found["rows"]):
        return []
    fits = {"yes": "B's head fits A's backbone", "no": "B's head does not fit A's backbone"}
    words = [f"{fits[found['fits']]}: {found['why']}"] if found["fits"] in fits else []
    if (rows := found["rows"]) and rows["order"] == sorted(rows["order"]):
        words.append(f"each row is most like A's at its place (mean cosine {rows['in_place']:.2f})")
    if found["labels"] != "unknown":
        words.append(found["labels_why"])
    return wrap(f"heads     {'; '.join(words)}", WIDTH, subsequent_indent=" " * 10) if words else []


def _values(found: Mapping[str, Json] | None, most: int = 5) -> list[list[str]]:
    """The sentence on the values, and the tensors that moved most."""
    if not found:
        return []
    said = wrap(f"values    {found['sentence']}", WIDTH, subsequent_indent=" " * 10)
    rows = [
        [_short(m["name"]), *(_figure(m[k]) for k in ("largest", "mean", "cosine"))]
        for m in found["moved"][:most]
    ]
    if not rows:
        return [said]
    more = len(found["moved"]) - most
    rest = [f"and {more} more (--report json:PATH has all)"] if more > 0 else []
    head = ["least alike", "largest", "mean", "cosine"]
    return [said, [*table([head, *rows]), *rest]]


def _tensors(place: str, tensors: list[dict[str, Json]]) -> list[str]:
    """A line a tensor: what it is, what shares its bytes, and what its values range over."""
    first: dict[str, str] = {}
    rows = []
    for t in tensors:
        shape = f"({', '.join(map(str, t['shape']))}{',' * (len(t['shape']) == 1)})"
        words = [t.get("layout", ""), t.get("quantizer", "")]
        words += [", ".join(p["name"] for p in t.get("parts", ()))]
        if "storage" in t:
            owner = first.setdefault(str(t["storage"][:3]), t["name"])
            words.append(f"shares {owner}" if owner != t["name"] else "")
        words += [word for word in ("conj", "neg", "constant") if t.get(word)]
        words += [f"{t[word]} {word}" for word in ("nan", "inf") if t.get(word)]
        if t.get("minimum") is not None:
            words.append(f"{t['minimum']:.4g} to {t['maximum']:.4g}")
        rows.append([_short(t["name"], 40), t["dtype"], shape, ", ".join(w for w in words if w)])
    head = [f"tensors of {place}" if place else "tensors", "dtype", "shape", ""]
    return table([head, *rows])


def _short(name: str, most: int = 44) -> str:
    if not name:
        return "(the tensor itself)"
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _findings(report: Report) -> list[str]:
    if not report.findings:
        return []
    first, *others = by_row([["level", "rule", "breaks"], *map(_head, report.findings)])
    # The text of a finding wants the whole width: it stands below its head line.
    out = list(first)
    for lines, found in zip(others, report.findings, strict=True):
        out += lines
        out += wrap(found.what, WIDTH, initial_indent="  ", subsequent_indent="  ")
        if found.hint:
            out += wrap(
                found.hint, WIDTH, initial_indent="  fix: ", subsequent_indent="       ",
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
    return out


def _head(found: Finding) -> tuple[str, str, str]:
    return str(found.level), found.rule, ", ".join(found.breaks) or "-"


def _skipped(report: Report, word: str = "not checked") -> list[str]:
    if not report.skipped:
        return []
    by_reason: dict[str, list[str]] = {}
    for one in report.skipped:
        by_reason.setdefault(one.why, []).append(one.rule)
    return [
        line
        for why, rules in by_reason.items()
        for line in wrap(f"{word}: {', '.join(rules)}: {why}", WIDTH, subsequent_indent="  ",
                         break_on_hyphens=False)
    ]  # fmt: skip


def _proofs(proofs: tuple[Proof, ...]) -> list[str]:
    if not proofs:
        return []
    rows = [["proof", "", "what was seen"]]
    rows += [[p.name, "holds" if p.holds else "FAILS", p.what] for p in proofs]
    return table(rows)


def _file(given: Input) -> list[str]:
    f = given.facts
    rows = [["file", given.path], ["container", f"{f['container']}, {in_bytes(f['bytes'])}"]]
    places = f["state_dicts"]
    if len(places) > 1:
        rows.append(["state dicts", ", ".join(p or "(top level)" for p in places)])
    if f["place"] or f["prefix"]:
        rows.append(["wrapper", " ".join(x for x in (
            f"under {f['place']!r}" if f["place"] else "",
            f"prefix {f['prefix']!r}" if f["prefix"] else "") if x)])  # fmt: skip
    rows += _of_what(f)
    rows.append(
        ["weights", ", ".join([f"{f['weights']:,} in {f['tensors']} tensors", *f["dtypes"]])]
    )
    labels = f["labels"]
    if labels["names"] is not None:
        rows.append(["labels", f"{', '.join(labels['names'])} ({labels['source']})"])
    else:
        why = f" ({labels['source']})" if labels["source"] else ""
        rows.append(["labels", ("unknown" if labels["applicable"] else "not applicable") + why])
    pre = f["preprocessing"]
    rows.append(["preprocessing", _preprocessing(pre) if pre else "unknown"])
    if f["graph"]:
        g = f["graph"]
        for kind in ("inputs", "outputs"):
            shown = [f"{n} {t} ({', '.join(map(str, s))})" for n, t, s in g[kind]]
            rows.append([kind, "; ".join(shown)])
        opsets = [f"{d or 'ai.onnx'} {v}" for d, v in g["opsets"].items()]
        rows.append(["opset", ", ".join(opsets)])
    rows += _parts(f)
    if f["metadata"]:
        rows.append(["metadata", _short_json(f["metadata"])])
    if f["held_aside"]:
        rows.append(["held aside", ", ".join(f["held_aside"])])
    by_danger: dict[str, list[str]] = {}
    for one in f["imports"]:
        by_danger.setdefault(one["danger"], []).append(one["name"])
    for danger, word in (
        ("unsafe", "would run"),
        ("code", "would import"),
        ("refused", "harmless names"),
    ):
        if danger in by_danger:
            names = by_danger[danger]
            # What would run is shown to the last; of classes that are imported a few tell enough.
            most = len(names) if danger == "unsafe" else MOST_NAMES
            rest = f" and {len(names) - most} more" if len(names) > most else ""
            rows.append([word, ", ".join(names[:most]) + rest])
    if set(by_danger) == {"safe"}:
        rows.append(["code", "none: it imports only what rebuilds tensors"])
    elif not by_danger:
        rows.append(["code", "none"])
    return table(rows)


def _parts(f: Mapping[str, Json]) -> list[list[str]]:
    """The other files of the folder by what they are for, and the modules in the order they run."""
    rows = []
    if chained := f.get("modules"):
        words = [m["type"].rpartition(".")[2] or m["path"] for m in chained]
        rows.append(["modules", " > ".join(words)])
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
    if f["root"]:
        rows.append(["", f"within module {f['root']!r}"])
    sizes = f["architectures"][0]["sizes"] if f["architectures"] else {}
    if sizes:
        rows.append(["sizes", ", ".join(f"{k} {v:,}" for k, v in sizes.items())])
    rows += _confidence(f)
    for n, b in enumerate(f["blocks"]):
        times = f", {b['count']} times" if b["count"] > 1 else ""
        wide = f", {b['widths'][0]} -> {b['widths'][1]}" if b["widths"] else ""
        rows.append(
            ["" if n else "blocks", f"{_short(b['path'], 50)}{times}: {b['weights']:,}{wide}"]
        )
    sides = [h for h in f["side_heads"] if h["role"] != BESIDE]
    heads = [*([f["head"]] if f["head"] else []), *sides]
    bare = "none: a backbone alone" if f["architectures"] else "not found"
    rows += _listed("head", heads, "heads") or [["head", bare]]
    return rows + _listed("beside it", [h for h in f["side_heads"] if h not in sides], "modules")


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
    role = f"{h['role']}: " if h["role"] not in ("", "classes", BESIDE) else ""
    if h["kind"] == "removed":
        return f"{role}{h['path']} is gone"
    what = f"{h['kind']}, {_TAKES[h['takes']]}" if h["takes"] in _TAKES else h["kind"]
    widths = f", {h['in_width'] or '?'} -> {h['outputs'] or '?'}"
    known = widths if h["in_width"] or h["outputs"] else ""
    why = f" ({h['evidence']})" if h["role"] != BESIDE else ""
    return f"{role}{h['path']} ({what}){known}{why}"


_TAKES = {
    "avg": "of pooled features",
    "token": "of the class token",
    "flat": "of a flattened map",
    "map": "of a feature map",
    "sequence": "of each token",
}


def _percent(share: float) -> str:
    # Nothing but all of it is 100 %.
    return "100 %" if share == 1 else f"{min(100 * share, 99.9):.3g} %"


def _architecture(f: Mapping[str, Json]) -> str:
    found = f["architectures"]
    names = [a["name"] for a in found]
    if not names:
        return "unknown" + (f" ({f['ambiguity']})" if f["ambiguity"] else "")
    if len(names) > 1:
        most = 6
        more = f" and {len(names) - most} more" if len(names) > most else ""
        return (
            f"one of {', '.join(names[:most])}{more}; what differs is not in the weights: "
            f"{f['ambiguity']} (--arch says which)"
        )
    also = found[0]["also"]
    same = f", the same as {', '.join(also[:3])}" if also else ""
    same += f" and {len(also) - 3} more" if len(also) > 3 else ""
    doubt = f"; {f['ambiguity']}" if f["ambiguity"] else ""
    return f"{names[0]}{same} (by {found[0]['evidence']}{doubt})"


def _preprocessing(pre: dict[str, Json]) -> str:
    if pre.get("kind", "image") != "image":
        skip = ("kind", "source", "evidence")
        said = (f"{k.replace('_', ' ')} {_how(v)}" for k, v in pre.items() if k not in skip)
        return f"{pre['kind']}, {', '.join(said)} ({pre['source']})"
    size = "x".join(map(str, pre["resize"]))
    crop = f", crop {'x'.join(map(str, pre['crop']))}" if pre.get("crop") else ""
    mean, std = (", ".join(f"{v:g}" for v in pre[k]) for k in ("mean", "std"))
    scale = f", scale {pre['scale']:g}" if "scale" in pre else ""
    scale += "" if pre.get("antialias", True) else ", no antialiasing"
    return (
        f"{pre['color']}, resize {size} {pre['interpolation']}{crop}, "
        f"mean {mean}, std {std}{scale} ({pre['source']})"
    )


def _how(value: Json) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "/".join(map(str, value))
    text = str(value)
    return text[:12] if len(text) == 64 else text  # a hash by its beginning


def _short_json(metadata: dict[str, Json]) -> str:
    shown = []
    for key, value in metadata.items():
        if isinstance(value, (dict, list)):
            shown.append(f"{key} ({len(value)} entries)")
        else:
            text = str(value)
            shown.append(f"{key} = {text if len(text) <= 40 else text[:39] + '…'}")
    return ", ".join(shown)


def _conditions(report: Report) -> list[str]:
    given = report.details.get("conditions") or {}
    return table([[k, str(v)] for k, v in given.items()])


def _measured(report: Report) -> list[list[str]]:
    """Tables for each group of measurements: accuracy, comparison, latency, memory."""
    groups: dict[str, list[Measurement]] = {}
    for m in report.measurements:
        groups.setdefault(str(m.conditions.get("group", "measured")), []).append(m)
    return [block for name, found in groups.items() for block in _group(name, found)]


def _group(name: str, found: list[Measurement]) -> list[list[str]]:
    if name == "latency":
        return [_latency(found)]
    if name == "latency ratio":
        rows = [[name, "batch", "value", "95 % interval"]]
        rows += [[_of(m), str(m.conditions["batch"]), *_figures(m)] for m in found]
        return [table(rows)]
    if any("verdict" in m.conditions for m in found):
        return [_changes(name, found)]
    if all("runtime" in m.conditions for m in found):
        return _side_by_side(name, found)
    if all("between" in m.conditions for m in found):  # what is compared is the heading
        pairs: dict[str, list[Measurement]] = {}
        for m in found:
            pairs.setdefault(_of(m), []).append(m)
        return [
            table([[pair, "value", "95 % interval"], *([m.name, *_figures(m)] for m in own)])
            for pair, own in pairs.items()
        ]
    rows = [[name, "of", "value", "95 % interval"]]
    return [table([*rows, *([m.name, _of(m), *_figures(m)] for m in found)])]


def _of(m: Measurement) -> str:
    return str(m.conditions.get("of", ""))


def _side_by_side(name: str, found: Sequence[Measurement]) -> list[list[str]]:
    """A row for each figure and a column for each runtime, a model's runtimes in one table as far
    as the line takes them."""
    same = len({m.name for m in found}) == 1 and found[0].name == name  # its name is the heading
    cells = {(_row(m, same), _of(m)): _cell(m) for m in found}
    labels = list(dict.fromkeys(row for row, _ in cells))
    front = max(len(name), *(len(label) for label in labels))
    blocks: list[list[str]] = []
    for ofs in _fitting(found, cells, front):
        rows = [[name, *ofs], *([r, *(cells.get((r, of), "") for of in ofs)] for r in labels)]
        blocks.append(table([row for row in rows if any(row[1:])]))
    return blocks


def _fitting(
    found: Iterable[Measurement], cells: Mapping[tuple[str, str], str], front: int
) -> list[list[str]]:
    """The runtimes of each model, cut where the line is full."""
    made: list[list[str]] = []
    model, left = "", 0
    for m in {_of(m): m for m in found}.values():
        wide = 2 + max(len(_of(m)), *(len(c) for (_, of), c in cells.items() if of == _of(m)))
        if str(m.conditions.get("model")) != model or wide > left:
            made.append([])
            model, left = str(m.conditions.get("model")), WIDTH - front
        made[-1].append(_of(m))
        left -= wide
    return made


def _row(m: Measurement, same: bool) -> str:
    """What a figure is of: its name, and the batch or shape where there is one."""
    at = at_of(m.conditions)
    return ", ".join(filter(None, ("" if same and at else m.name, at)))


def _cell(m: Measurement) -> str:
    """ "88.33 % (84.21 to 91.49)"; of a first run, the time that the same takes later too."""
    if m.value is None:
        return "-"
    steady = m.conditions.get("steady_ms")
    more = f" ({spanned(*m.interval, m.unit, bare=True)})" if m.interval else ""
    return quantity(m.value, m.unit) + (f", later {steady:.2f}" if steady is not None else more)


def _changes(name: str, found: Iterable[Measurement]) -> list[str]:
    """What is not as it was, from one report to the next."""
    scores = name == "score change"
    head = ("old", "new") if scores else ("value", "95 % interval")
    rows = [[name, "of", *head, "verdict"]]
    found = list(found)
    for m in found:
        c = m.conditions
        unit = "share" if m.unit == "points" else m.unit
        figures = [quantity(c[k], unit) for k in head] if scores else _figures(m)
        label = m.name.removesuffix(" change") if scores else _row(m, False)
        rows.append([label, _of(m), *figures, str(c.get("verdict", ""))])
    wide = sum(2 + max(len(row[i]) for row in rows) for i in range(len(rows[0]))) - 2
    if wide <= WIDTH:
        return table(rows)
    # What has a long name stands above its figures, in full.
    first, *others = by_row([[row[0], *row[2:]] for row in rows])
    lines, last = list(first), ""
    for m, own in zip(found, others, strict=True):
        if _of(m) != last:
            lines += wrap(_of(m), WIDTH, subsequent_indent="  ", break_on_hyphens=False)
            last = _of(m)
        lines += own
    return lines


def _figures(m: Measurement) -> tuple[str, str]:
    interval = "" if m.interval is None else spanned(*m.interval, m.unit)
    return "-" if m.value is None else quantity(m.value, m.unit), interval


def _latency(found: list[Measurement]) -> list[str]:
    rows = [["latency", "batch", "p50 ms", "p90 ms", "p99 ms", "samples/s"]]
    for m in sorted(found, key=lambda m: (m.conditions["batch"], str(m.conditions["of"]))):
        c = m.conditions
        figures = [f"{v:.2f}" for v in (m.value or 0.0, c["p90"], c["p99"])]
        rows.append([str(c["of"]), str(c["batch"]), *figures, f"{c['per_second']:.0f}"])
    return table(rows)


def _domain(axes: Sequence[Mapping[str, Json]]) -> list[str]:
    """The sizes that each open axis takes, one line for axes that take the same."""
    by_words: dict[str, dict[str, None]] = {}
    for axis in map(AxisDomain.from_json, axes):
        name = axis.name or f"{axis.input} axis {axis.axis}"
        by_words.setdefault(axis.words(), {})[name] = None
    rows = [[", ".join(names), said] for said, names in by_words.items()]
    return table([["axis", "sizes"], *rows]) if rows else []
