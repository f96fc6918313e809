"""The README's commands and the stored results -> the README's outputs and figures, as they are.

    python -m benchmarks.readme

Runs each `$ interop …` of the README in a scratch folder and puts in what it printed; makes the
table of figures from benchmarks/results/. A test runs the same commands and compares.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.process import RESULTS, ROOT

README = ROOT / "README.md"
SCANNERS_PAGE, REMEMBERED_PAGE = ROOT / "docs" / "scanners.md", ROOT / "docs" / "remembered.md"
VERIFY_PAGE, SWEEP_PAGE = ROOT / "docs" / "verify.md", ROOT / "docs" / "sweep.md"
BLOCK = re.compile(r"```console\n\$ interop (?P<command>[^\n]*)\n(?P<output>.*?)```\n", re.S)
(FIGURES, FORMATS, IDENTITY, PORTS, COVERAGE, ASSESSED, FIRST, SCANNERS, REMEMBERED, MUTATION,
 SWEEP) = (
    re.compile(
        rf"(<!-- {what}: python -m benchmarks\.readme -->\n).*?(<!-- end of {what} -->)", re.S
    )
    for what in (
        "figures",
        "formats",
        "identity",
        "ports",
        "coverage",
        "assessed",
        "first try",
        "scanners",
        "remembered",
        "mutation",
        "sweep",
    )
)  # fmt: skip


READING = (  # what, the ratio in benchmarks/results/reading.json, the goal
    ("`check` of two 8 GB files against two of resnet18: CPU time",
     "8 GB pair to resnet18 pair", "1.5"),
    ("`check` of two resnet152 files against a torch script: CPU time",
     "resnet152 pair to torch script", "1/20"),
    ("`inspect` of 46,000 tensors against `torch.load`: CPU time",
     "46,000 tensors to torch.load", "1/4"),
    ("`check --values` of two 2.5 GB safetensors against `cmp`: wall time",
     "values to cmp", "1.25"),
    ("the same of `.pth` files, checksums included", "values of .pth to cmp", "0.9"),
    ("the same against `torch.equal`, both mapped", "values to torch.equal", "1"),
    ("`inspect` of 1.8 GB of ONNX against `onnx.load`: CPU time",
     "ONNX of 1.8 GB to onnx.load", ""),
)  # fmt: skip

EXPORTS = {  # the ratio in benchmarks/results/export_vs_peers.json: what it is
    "whole to verified": "CPU time with all proofs to torch's own `verify=True, report=True`",
    "whole to timm": "CPU time with all proofs to timm's export script (TorchScript, no proof)",
    "whole to timm, dynamo": "CPU time with all proofs to timm's export by dynamo (no proof)",
    "whole to transformers": "CPU time with all proofs to transformers' exporter (no proof)",
    "whole to optimum": "CPU time with all proofs to `optimum-cli export onnx`",
    "own memory to weights": "peak memory less the libraries' and 0.3 GB, to the weights",
}
EXPORT_WORST = {"bytes written to weights": "bytes of the bundle to the weights"}


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Each command of the README, and the output that stands below it."""
    for block in BLOCK.finditer(text):
        yield block["command"], block["output"]


def scratch(folder: Path, derived: Path) -> None:
    """A folder in which the README's commands find the fixtures under the README's paths."""
    fixtures = folder / "fixtures"
    fixtures.mkdir()
    for name in ("digits", "files", "text", "speech"):
        (fixtures / name).symlink_to(ROOT / "fixtures" / name)
    (fixtures / "derived").symlink_to(derived)
    (fixtures / "interop.toml").write_text((ROOT / "fixtures" / "interop.toml").read_text())


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one command of the README as a reader would, with stdout apart."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "interop", *command.split()],
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
        check=False,
    )


def formats() -> list[str]:
    """The table of formats, from the one that the reader goes by."""
    from interop.reading.formats.table import FORMATS as known

    rows = ["| what | files | in a report | needs |", "| --- | --- | --- | --- |"]
    for one in known:
        files = " ".join(f"`{f}`" if f.startswith(".") else f for f in one.files.split(" "))
        extra = f"`pip install '.[{one.extra}]'`" if one.extra else ""
        rows.append(f"| {one.what} | {files} | `{one.container}` | {extra} |")
    return rows


def figures() -> list[str]:
    """The table of figures, from the stored results alone."""
    rows = ["| what | measured | goal |", "| --- | --- | --- |"]
    check, start = _result("check"), _result("start")
    rows += [
        f"| `interop check` of two resnet18 files against a torch script: CPU time "
        f"| 1/{1 / check['ratios']['cpu']:.1f} | 1/20 |",
        f"| the same against the least that Python can do, by its standard library alone: CPU time "
        f"| {check['ratios']['cpu_to_floor']:.2f} | 2.5 |",
        f"| the same: peak memory | 1/{1 / check['ratios']['peak_memory']:.1f} | 1/8 |",
        f"| `interop --help` against `import click`: CPU time | {start['ratio']:.2f} | 3 |",
    ]
    reading = _result("reading")["ratios"]
    for what, key, goal in READING:
        rows.append(f"| {what} | {_ratio(reading[key])} | {goal} |")
    cost = _result("cost")
    files = [one for row in cost["kinds"].values() for one in row]
    seconds, megabytes = (max(f[k] for f in files) for k in ("cpu_seconds", "megabytes"))
    rows.append(
        f"| `inspect` of {len(files)} files made to cost much ({len(cost['kinds'])} kinds, up to "
        f"{max(f['bytes'] for f in files) / 1e6:.0f} MB): CPU time and memory at most "
        f"| {seconds:.2f} s, {megabytes:.0f} MB | 1 s, 200 MB |"
    )
    rows += list(_exports())
    recurrent = _result("recurrent")
    by_size = [found for model in recurrent["models"].values() for found in model.values()]
    rows.append(
        f"| export of LSTM, GRU and RNN of up to 4,000 frames: CPU time of the conversion beyond "
        f"that of 10 frames, to a bare `torch.onnx.export(dynamo=False)` "
        f"| {max(f['growth'] for f in by_size):.2f} | {recurrent['goal']} |"
    )
    for where, found in _result("sweep")["runs"].items():
        rows.append(
            f"| `inspect --all` of {found['models']:,} checkpoints, {where}: models a second "
            f"| {found['models_per_second']:.0f} |  |"
        )
    verify = _result("verify")
    for name, found in verify["models"].items():
        rows.append(
            f"| `verify --against` of {name} against a script that loads, traces and runs the same "
            f"unproved: CPU time | {found['ratio']:.2f} | {verify['goal']:g} |"
        )
    rows.append(
        f"| `assess` of four backbones on five folds against a loop that computes features anew in "
        f"each: CPU time | {_ratio(_result('assess')['ratio'])} | 1/4 |"
    )
    return rows


def _exports() -> Iterator[str]:
    """Rows of what an export costs: each against a peer by itself, of the others the worst."""
    models = _result("export_vs_peers")["models"]
    for what, words in EXPORTS.items():
        for name, found in models.items():
            if what in found["goals"]:
                yield _row(f"export of {name}: {words}", found["goals"][what])
    for what, words in EXPORT_WORST.items():
        name = max(models, key=lambda m: models[m]["goals"][what]["measured"])
        yield _row(f"export, the worst of {len(models)} ({name}): {words}",
                   models[name]["goals"][what])  # fmt: skip


def _row(what: str, found: dict[str, Any]) -> str:
    goal = "" if found["goal"] is None else f"{found['goal']:g}"
    return f"| {what} | {found['measured']:.2f} | {goal} |"


def identity() -> list[str]:
    """How often a state dict is named rightly, from the stored study."""
    found = _result("identity")
    rows = ["| of | what became of the head | one named | a class named | missed | wrong |"]
    rows.append("| --- | --- | --- | --- | --- | --- |")
    for library, table in found["table"].items():
        for how, row in table.items():
            counts = " | ".join(f"{row[k]:,}" for k in ("unique", "class", "missed", "wrong"))
            rows.append(f"| {library} | {how} | {counts} |")
    return rows


def ports() -> list[str]:
    """Which models were carried across, and back where that was tried, from the stored study."""
    rows = ["| between | and | largest difference | verdict |", "| --- | --- | --- | --- |"]
    pairs: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for trip in _result("port")["trips"]:
        pairs.setdefault(tuple(sorted((trip["from"], trip["to"]))), []).append(trip)
    for trips in pairs.values():
        worst = max(trips, key=lambda t: t["relative"])
        both = " there and back" if len({t["from"] for t in trips}) == 2 else ""
        verdict = f"proved{both}"
        if any(t["apart"] for t in trips):
            verdict = f"weights map, the forward differs: {', '.join(worst['apart'])}"
        first = trips[0]
        rows.append(f"| {first['from']} | {first['to']} | {worst['relative']:.1e} | {verdict} |")
    return rows


def coverage() -> list[str]:
    """Which models are exported with all proofs, by library and task; then what is not."""
    found = _result("coverage")["models"]
    rows = ["| library | task | models | exported, proved | by another route than the first | "
            "axes open | restricted | fixed |"]  # fmt: skip
    rows.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name, record in found.items():
        groups.setdefault((name.partition("/")[0], record["task"]), []).append(record)
    order = ("torchvision", "timm", "transformers", "torchaudio", "fixtures")
    for library, task in sorted(groups, key=lambda g: (order.index(g[0]), g[1])):
        records = groups[library, task]
        good = [r for r in records if r["holds"]]
        # Detectors and sounds go by the older exporter first.
        others = sum(bool(r.get("attempts")) for r in good)
        shown = "one's own" if library == "fixtures" else library
        axes = Counter(
            a.split(" ")[0].rstrip(":") for r in good for a in r.get("axes", {}).values()
        )
        states = " | ".join(str(axes[s] or "") for s in ("open", "restricted", "fixed"))
        row = f"| {shown} | {task} | {len(records)} | {len(good)} | {others or ''} | {states} |"
        rows.append(row)
    failed = {n: r for n, r in found.items() if not r["holds"]}
    if failed:
        rows += ["", "| not exported | why |", "| --- | --- |"]
        for name, record in failed.items():
            why = " ".join(record.get("why", "").split()).replace("|", "/")
            rows.append(f"| {name} | {why[:200]} |")
    return rows


def assessed() -> list[str]:
    """Parts of what `interop assess` said of the digits' models, as the tests hold it: the answer,
    the ranking, who may stand in for whom, and some of the reasons."""
    text = (ROOT / "tests" / "report" / "golden" / "assess.text").read_text("utf-8")
    blocks = [b.splitlines() for b in text.strip().split("\n\n")]
    heads = {b[0]: b for b in blocks}
    reasons = next(b for b in blocks if b[0].startswith("yes  "))
    starts = [i for i, line in enumerate(reasons) if not line.startswith(" ")]
    kept = [reasons[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]
    said = {r[0][:3]: r for r in reversed(kept) if "random" not in " ".join(r)}
    parts = [blocks[0], heads["RANKING"], heads["WHICH CAN STAND IN FOR WHICH"],
             [line for r in sorted(said.values(), reverse=True) for line in r]]  # fmt: skip
    return ["```", *"\n\n".join("\n".join(p) for p in parts).splitlines(), "```"]


def first_try() -> list[str]:
    """How many first tries export, by form, and how many of those are right."""
    found = _result("first_try")
    counts, rows = found["counts"], found["rows"]
    plain = [r for r in rows if r["architecture"] not in {n for n, _ in found["assumed wrongly"]}]
    table = ["| a file of | exported | right | by a bare `torch.onnx.export`, right |",
             "| --- | --- | --- | --- |"]  # fmt: skip
    for form in counts["exported by form"]:
        of = [r for r in plain if r["form"] == form and "impossible" not in r]
        right = sum(bool(r.get("right")) for r in of)
        bare = sum(bool(r["bare export"]["right"]) for r in of)
        table.append(
            f"| {form} | {counts['exported by form'][form]} of {len(of)} | {right} | {bare} |"
        )
    wrongly = ", ".join(name for name, _ in found["assumed wrongly"]) or "none"
    kinds = len(plain) // len(counts["exported by form"])
    possible = counts["cells"] - len(counts["impossible"])
    return [
        f"`interop export` of {kinds} architectures that people fine-tune (torchvision, timm, "
        "transformers, modules of one's own), each in ten forms, with no flag that names the "
        f"architecture or the input: {counts['exported']} of {possible} export, {counts['right']} "
        f"of those are right (`--model` for classes of one's own, `--head` for a head of several "
        f"layers, `--trust` for TorchScript; {len(counts['with a fixed batch'])} with its batch "
        f"fixed, and said). Assumed wrongly, counted apart: {wrongly} "
        "(`python -m benchmarks.first_try`).",
        "",
        *table,
    ]


def scanners() -> list[str]:
    """What other scanners say of the hostile and the benign files, from the stored result."""
    from benchmarks.scanners import page

    return page(_result("scanners"))


def remembered() -> list[str]:
    """What running statistics tell of a model's inputs, from the stored result."""
    from benchmarks.imprint_judge import page

    return page(_result("imprint"))


def mutation() -> list[str]:
    """How good the proofs are, from the stored study."""
    from benchmarks.mutation import page

    return page(_result("mutation"))


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value > 0.4 else f"1/{1 / value:.1f}"


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
    return found


def sweep() -> list[str]:
    """Models a second of `inspect --all`, and how much memory the sweeping process had at most."""
    result = _result("sweep")
    host = result["machine"]
    rows = [
        f"Models of 18 and 52 tensors by turns, {host['cpus']} CPUs ({host['processor']}), median "
        f"of whole runs, {result['date']} (`python -m benchmarks.sweep`). The S3 server is moto's, "
        "which is Python and bounds its figure; Dask's workers share the CPUs with its scheduler.",
        "",
        "| where | models | models a second | samples | peak memory of the sweeping process |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, one in result["runs"].items():
        samples = ", ".join(f"{s:,.0f}" for s in one["samples"])
        rows.append(
            f"| {name} | {one['models']:,} | {one['models_per_second']:,.0f} | {samples} "
            f"| {one['peak_bytes'] / 1e6:,.0f} MB |"
        )
    return rows


def main() -> None:
    from fixtures.make import DERIVED, derive

    derive(DERIVED)
    text = README.read_text("utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scratch(folder, DERIVED)

        def filled(block: re.Match[str]) -> str:
            done = run(block["command"], folder)
            print(f"{done.returncode}  interop {block['command']}", flush=True)
            return f"```console\n$ interop {block['command']}\n{done.stdout}```\n"

        text = BLOCK.sub(filled, text)
    tables = ((FIGURES, figures()), (FORMATS, formats()), (IDENTITY, identity()), (PORTS, ports()),
              (COVERAGE, coverage()), (ASSESSED, assessed()), (FIRST, first_try()))  # fmt: skip
    for block, rows in tables:
        table = "\n" + "\n".join(rows) + "\n\n"
        text = block.sub(lambda m, table=table: m.group(1) + table + m.group(2), text)
    README.write_text(text, "utf-8")
    fill_page(SCANNERS_PAGE, SCANNERS, scanners())
    fill_page(REMEMBERED_PAGE, REMEMBERED, remembered())
    fill_page(VERIFY_PAGE, MUTATION, mutation())
    fill_page(SWEEP_PAGE, SWEEP, sweep())


def fill_page(page: Path, block: re.Pattern[str], rows: list[str]) -> None:
    """Put the tables of a stored study into its page."""
    found = block.search(text := page.read_text("utf-8"))
    assert found is not None
    table = "\n" + "\n".join(rows) + "\n\n"
    front, behind = text[: found.start()], text[found.end() :]
    page.write_text(f"{front}{found[1]}{table}{found[2]}{behind}", "utf-8")


if __name__ == "__main__":
    main()
