"""How good is a proof? Right artefacts of many tools, and the same with faults put into them.

    python -m benchmarks.mutation --work FOLDER [--make] [--verify] [--export] [--judge]
        [--models NAME,...] [--optimum PYTHON] [--slimmers PYTHON]

Of ten models (`benchmarks.mutation_models`), shaken so that their answers differ by input, other
tools make artefacts, each confirmed right or wrong by ONNX Runtime alone
(`benchmarks.mutation_artefacts`). `--verify` proves each against its source by `interop verify
--against`: a right one that is refused is a false alarm. Then seeded faults
(`benchmarks.mutation_faults`) are put into the graphs that torch's two exporters wrote, one at a
time, and into those of a quantiser: a mutant that passes is a survivor, unless its answers are
within the bound of the unchanged graph's on all batches that were tried: then it is equivalent.
`--export` puts the same faults into bundles of `interop export`, their receipts sealed again, and
makes export's own proofs. Each verification is a line of FOLDER/*.jsonl: a run that was stopped
goes on where it was. `--judge` stores benchmarks/results/mutation.json, and exits with 1 where a
goal is missed. Without a part, all are done.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import process_time
from typing import Any

from benchmarks.mutation_artefacts import (
    LOWER,
    Artefact,
    Tools,
    apart,
    batches,
    listed,
    make,
    run,
    session,
    stored,
)
from benchmarks.mutation_faults import FAULTS, Fault, applied
from benchmarks.mutation_graph import Graph
from benchmarks.mutation_models import MODELS, Model
from benchmarks.process import machine, store

RIGHT, KINDS, SCORE, EQUIVALENT = 60, 40, 0.99, 0.05
BASES = ("torchscript, not folded", "torch dynamo", "torch dynamo, fixed batch")
BOUND = 5e-6  # of the largest output: what float32 may be off
BATCHES = 8
PACKAGES = ("torch", "torchvision", "timm", "transformers", "onnx", "onnxruntime-gpu", "numpy")


def source_of(folder: Path) -> Path:
    """The source of a model in its folder."""
    return folder / "source" if (folder / "source").exists() else folder / "model.pth"


def made(models: Iterable[Model], work: Path, tools: Tools) -> None:
    """The sources and artefacts that are not there yet."""
    for of in models:
        folder = work / of.name
        if (folder / "artefacts.json").exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        module = of.make()
        source = of.save(module, folder)
        found = make(of, module, source, folder / "artefacts", tools)
        stored(found, folder / "artefacts.json")
        right = sum(a.right for a in found)
        print(f"{of.name}: {right} of {len(found)} artefacts are right", file=sys.stderr)


def proved(of: Model, path: Path, source: Path, budgets: tuple[str, ...] = ()) -> dict[str, Any]:
    """What `interop verify` says of an artefact."""
    from interop import api
    from interop.errors import InteropError
    from interop.verify import VerifyOptions

    began = process_time()
    try:
        options = VerifyOptions(against=str(source), budgets=budgets, **of.options)
        report = api.verify(path, options)
    except InteropError as error:
        return {"outcome": "refused", "failing": ["unmatched"], "what": str(error)[:200]}
    return {**_said(report), "seconds": process_time() - began}


def budgets_of(a: Artefact) -> tuple[str, ...]:
    """What a person who has measured a lower precision would allow it: twice as much."""
    return (f"drift={max(2 * a.apart, 0.01):.3g}",) if a.precision else ()


def _said(report: Any) -> dict[str, Any]:
    failing = [p for p in report.proofs if not p.holds]
    said = [p.what for p in failing] or [s.why for s in report.skipped]
    return {
        "outcome": str(report.outcome),
        "failing": [str(p.name) for p in failing],
        "what": (said or [""])[0][:200],
    }


def mutants(of: Model, base: Artefact, folder: Path) -> Iterator[tuple[Fault, Path]]:
    """The artefact with each fault that finds a place in it, one after the other."""
    for number, fault in enumerate(FAULTS.values()):
        if fault.quantised != bool(base.precision):
            continue
        graph = Graph(Path(base.path), of.names, of.labels, of.guarded)
        seed = (number, sum(map(ord, of.name)), sum(map(ord, base.tool)))
        if not applied(fault, graph, seed):
            continue
        path = folder / "model.onnx"
        graph.save(path)
        yield fault, path


def distance(of: Model, before: Path, after: Path) -> float | None:
    """How far the mutant's answers are from the artefact's, of the largest; None if it does not
    load, infinite if it fails on a batch that the artefact takes."""
    one = session(before)
    try:
        two = session(after)
    except Exception:
        return None
    far = 0.0
    for given in batches(of, one, BATCHES):
        try:
            far = max(far, apart(run(one, given), run(two, given)))
        except Exception:
            return float("inf")
    return far


def verified(models: Iterable[Model], work: Path, log: Log) -> None:
    """Proves all artefacts and mutants that are not in the log."""
    for of in models:
        folder = work / of.name
        source = source_of(folder)
        found = [a for a in listed(folder / "artefacts.json") if Path(a.path).exists()]
        for a in found:
            budgets = budgets_of(a)
            log.add((of.name, a.tool), {"right": a.right, "apart": a.apart, "why": a.why},
                    partial(proved, of, Path(a.path), source, budgets))  # fmt: skip
        bases = [a for a in found if a.right and (a.tool in BASES or a.precision == "static")]
        plain = [a for a in bases if not a.precision][:2]
        for a in [*plain, *(a for a in bases if a.precision)]:
            budgets = budgets_of(a)
            _mutated(of, a, source, budgets, log)


def _mutated(of: Model, a: Artefact, source: Path, budgets: tuple[str, ...], log: Log) -> None:
    with tempfile.TemporaryDirectory() as place:
        for data in Path(a.path).parent.glob("*.data"):
            shutil.copyfile(data, Path(place) / data.name)
        for fault, path in mutants(of, a, Path(place)):
            key = of.name, a.tool, fault.name
            if key in log.known:
                continue
            far = distance(of, Path(a.path), path)
            facts = {"fault": fault.name, "proofs": list(fault.proofs), "apart": far}
            log.add(key, facts, partial(proved, of, path, source, budgets))


def exported(models: Iterable[Model], work: Path, log: Log) -> None:
    """The same faults in bundles of `interop export`, judged by export's own proofs."""
    from interop import api
    from interop.export import ExportOptions

    for of in models:
        source, bundle = source_of(work / of.name), work / of.name / "bundle"
        options = ExportOptions(**of.options)
        if not bundle.exists() and api.export(source, bundle, options).exit_code:
            continue
        whole = Artefact(of.name, "interop export", str(bundle / "model.onnx"), True, 0.0)
        with tempfile.TemporaryDirectory() as place:
            copy = Path(place) / "bundle"
            shutil.copytree(bundle, copy)
            for fault, path in mutants(of, whole, copy):
                key = of.name, whole.tool, fault.name
                if key in log.known:
                    continue
                far = distance(of, bundle / "model.onnx", path)
                facts = {"fault": fault.name, "proofs": list(fault.proofs), "apart": far}
                log.add(key, facts, partial(_again, copy, options))


def _again(folder: Path, options: Any) -> dict[str, Any]:
    """Export's proofs of a bundle whose receipt knows the file as it now is."""
    from interop.errors import InteropError
    from interop.verify.bundle import verify

    receipt = json.loads((folder / "interop.json").read_text())
    receipt["files"]["model.onnx"] = sha256((folder / "model.onnx").read_bytes()).hexdigest()
    (folder / "interop.json").write_text(json.dumps(receipt))
    try:
        return _said(verify(folder, options))
    except InteropError as error:
        return {"outcome": "refused", "failing": ["unmatched"], "what": str(error)[:200]}


class Log:
    """Verifications by their key, a line each in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = [json.loads(line) for line in lines]
        self.known = {tuple(r["key"]) for r in self.rows}

    def add(self, key: tuple[str, ...], facts: dict[str, Any], prove: Any) -> None:
        """Prove what is not known yet, and keep what comes of it."""
        if key in self.known:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                said = prove()
            except Exception as error:  # a fault of our own is to be seen, and the study to go on
                said = {
                    "outcome": "fault",
                    "failing": [],
                    "what": f"{type(error).__name__}: {error}",
                }
        row = {"key": list(key), **facts, **said}
        self.known.add(key)
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{' / '.join(key)}: {row['outcome']} {', '.join(row['failing'])}", file=sys.stderr)


# ---------------------------------------------------------------- judging


def refused(row: dict[str, Any]) -> bool:
    """Whether a mutant does not pass: a proof fails, or what cannot be made is said."""
    return row["outcome"] in ("no", "unknown", "refused")


def rightly(row: dict[str, Any]) -> bool:
    """Whether a proof that is for the fault refuses it: of a changed interface that is stated as
    unknown, or cannot be matched, that statement."""
    stated = row["outcome"] in ("unknown", "refused")
    proofs = {*row["proofs"], *(["labels"] if "interface" in row["proofs"] else [])}
    return stated or bool(set(row["failing"]) & proofs)


def scores(rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Mutants of one kind of proofs: how many, refused by what, which survive."""
    rows = [r for r in rows if "fault" in r]
    loaded = [r for r in rows if r["apart"] is not None]
    equivalent = [
        r
        for r in loaded
        if r["apart"] < BOUND and r["proofs"] != ["interface"] and not (refused(r) and rightly(r))
    ]
    counted = [r for r in loaded if r not in equivalent]
    good = [r for r in counted if refused(r) and rightly(r)]
    lost = [r for r in counted if not (refused(r) and rightly(r))]
    kinds: dict[str, Counter[str]] = {}
    for r in counted:
        how = (r["failing"] or [r["outcome"]])[0] if refused(r) else "survives"
        kinds.setdefault(r["fault"], Counter())[how] += 1
    return {
        "mutants": len(counted),
        "refused by the right proof": len(good),
        "score": len(good) / max(len(counted), 1),
        "do not load": len(rows) - len(loaded),
        "equivalent": [[*r["key"], r["apart"]] for r in equivalent],
        "survivors": [[*r["key"], r["apart"], r["outcome"], r["failing"]] for r in lost],
        "kinds": {k: dict(c) for k, c in sorted(kinds.items())},
    }


def judged(verify: Log, export: Log) -> dict[str, Any]:
    """The study's figures, and whether its goals are met."""
    plain = [r for r in verify.rows if "fault" not in r]
    right = [r for r in plain if r["right"]]
    tools: dict[str, Counter[str]] = {}
    for r in right:
        tools.setdefault(_tool(r["key"][1]), Counter())[r["outcome"]] += 1
    result = {
        "machine": machine(*PACKAGES),
        "models": sorted({r["key"][0] for r in plain}),
        "right": {
            "artefacts": len(right),
            "proved": sum(r["outcome"] == "yes" for r in right),
            "not proved": [[*r["key"], r["outcome"], r["what"]] for r in right
                           if r["outcome"] != "yes"],
            "by tool": {t: dict(c) for t, c in sorted(tools.items())},
        },
        "wrong as their tool wrote them": [
            [*r["key"], r["outcome"], (r["failing"] or [""])[0], r["why"]] for r in plain
            if not r["right"]
        ],
        "verify": scores(verify.rows),
        "export": scores(export.rows),
    }  # fmt: skip
    score = result["verify"]
    share = len(score["equivalent"]) / max(score["mutants"] + len(score["equivalent"]), 1)
    result["goals"] = {
        "right artefacts": {"measured": len(right), "goal": RIGHT},
        "right artefacts refused": {"measured": len(result["right"]["not proved"]), "goal": 0},
        "kinds of faults": {"measured": len(score["kinds"]), "goal": KINDS},
        "mutation score": {"measured": score["score"], "goal": SCORE},
        "equivalent mutants": {"measured": share, "goal": EQUIVALENT},
        "mutation score of export": {"measured": result["export"]["score"], "goal": SCORE},
    }
    return result


def page(result: dict[str, Any]) -> list[str]:
    """The tables of the study, for docs/verify.md."""
    right, wrong = result["right"], result["wrong as their tool wrote them"]
    rows = ["| what | measured | goal |", "| --- | --- | --- |"]
    rows += [f"| {n} | {g['measured']:.4g} | {g['goal']:g} |" for n, g in result["goals"].items()]
    rows += ["", "| tool | right artefacts | proved | refused | unknown |",
             "| --- | --- | --- | --- | --- |"]  # fmt: skip
    for tool, c in right["by tool"].items():
        others = sum(n for how, n in c.items() if how not in ("yes", "no"))
        rows.append(
            f"| {tool} | {sum(c.values())} | {c.get('yes', 0)} | {c.get('no', 0)} | {others} |"
        )
    rows += ["", "Not proved, though right:" if right["not proved"] else
             "No right artefact was refused."]  # fmt: skip
    rows += [f"- {m}, {tool}: {how}; {why}" for m, tool, how, why in right["not proved"]]
    if wrong:
        rows += ["", "Wrong as their tool wrote them:", ""]
        rows += ["| model | tool | verify says | by | what ONNX Runtime showed |",
                 "| --- | --- | --- | --- | --- |"]  # fmt: skip
        for m, tool, how, proof, why in wrong:
            plain = " ".join(why.split()).replace("|", "/")[:120]
            rows.append(f"| {m} | {tool} | {how} | {proof} | {plain} |")
    for what in ("verify", "export"):
        s = result[what]
        rows += ["", f"### Faults, judged by the proofs of {what}", ""]
        rows.append(
            f"{s['refused by the right proof']} of {s['mutants']} mutants are refused by the right "
            f"proof ({100 * s['score']:.1f} %); {len(s['equivalent'])} more are equivalent, "
            f"{s['do not load']} do not load."
        )
        rows += ["", "Survivors:" if s["survivors"] else "None survives."]
        rows += [f"- {m}, {tool}: {name} ({far:.1e} off; {how} {', '.join(by)})"
                 for m, tool, name, far, how, by in s["survivors"]]  # fmt: skip
        if s["equivalent"]:
            rows += ["", "Equivalent:"]
            rows += [f"- {m}, {tool}: {name} ({far:.1e} off)" for m, tool, name, far in
                     s["equivalent"]]  # fmt: skip
        rows += ["", "| fault | mutants | refused by |", "| --- | --- | --- |"]
        for kind, c in s["kinds"].items():
            ways = ", ".join(f"{how} {n}" for how, n in sorted(c.items(), key=lambda x: -x[1]))
            rows.append(f"| {kind} | {sum(c.values())} | {ways} |")
    return rows


def _tool(name: str) -> str:
    """ "onnxslim of torch dynamo" -> "onnxslim"; "…, float16" -> "float16"."""
    for how in LOWER:
        if name.endswith(f", {how}"):
            return f"{how} of ONNX Runtime's tools" if how != "float16" else "onnxconverter-common"
    return name.partition(" of ")[0]


def met(goals: dict[str, Any]) -> bool:
    """Whether each goal is met."""
    least = ("right artefacts", "kinds of faults", "mutation score", "mutation score of export")
    return all(
        g["measured"] >= g["goal"] if name in least else g["measured"] <= g["goal"]
        for name, g in goals.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--models", default=",".join(MODELS))
    for part in ("make", "verify", "export", "judge"):
        parser.add_argument(f"--{part}", action="store_true")
    parser.add_argument("--optimum", default="")
    parser.add_argument("--slimmers", default="")
    given = parser.parse_args()
    every = not (given.make or given.verify or given.export or given.judge)
    models = [MODELS[name] for name in given.models.split(",")]
    verify, export = (Log(given.work / f"{name}.jsonl") for name in ("verify", "export"))
    if every or given.make:
        made(models, given.work, Tools(given.optimum, given.slimmers))
    if every or given.verify:
        verified(models, given.work, verify)
    if every or given.export:
        exported(models, given.work, export)
    if every or given.judge:
        result = judged(verify, export)
        store("mutation", result)
        for name, goal in result["goals"].items():
            print(f"{name}: {goal['measured']:.4g} (goal {goal['goal']:g})")
        sys.exit(not met(result["goals"]))


if __name__ == "__main__":
    main()
