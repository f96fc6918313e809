"""What do other scanners say of the files that interop is tested on? -> results/scanners.json.

    python -m benchmarks.scanners [PATTERN …] [--jobs N] [--environments FOLDER]

picklescan, modelscan, fickling and modelaudit, each in a virtual environment of its own (made in
FOLDER where it is missing; without a FOLDER, in a temporary one), and interop, one process a file,
over fixtures/files/hostile and the benign files of fixtures. The corpus was made for interop, so
interop has seen it and the others have not: the table says what each tool does with these files,
not how good it is elsewhere. With a PATTERN only those files are tried again, and the rest of the
stored result stays, as long as the versions are the same.

What a tool said of a file is one of:

    flagged   it reports a danger: its own exit code or report says so
    refused   it says that it cannot read the file, and its exit code is not 0
    skipped   it says that it scanned nothing, and its exit code is 0 (or 3, modelscan's for this)
    safe      it scanned the file and reports nothing
    crashed   a traceback, a signal, or more than LIMIT seconds
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.process import RESULTS, ROOT, machine, store
from fixtures.hostile import HOSTILE, UNSAFE

LIMIT = 120  # seconds of one file
OUTCOMES = ("flagged", "refused", "skipped", "safe", "crashed")
FILES = ROOT / "fixtures" / "files"
# Written by their libraries, and they do run code or read files: not benign.
BY_THEIR_LIBRARY = {
    "lambda.keras": "code in a Keras model",
    "saved-model-reads": "operators that reach files",
}
PARTS = {"external.onnx.data"}  # of the file beside it

# fickling's command line reads no archives; its documented Python functions do.
FICKLING = """
import json, sys, zipfile
from pathlib import Path
from fickling.loader import scan_file, scan_zip_archive
found, errors, seen = [], [], 0
given = Path(sys.argv[1])
for path in sorted(given.rglob("*")) if given.is_dir() else [given]:
    if path.is_file():
        results = [scan_file(str(path), graceful=True)]
        if zipfile.is_zipfile(path):
            results = list(scan_zip_archive(str(path), graceful=True).values())
        for one in results:
            seen += bool(one.results)
            errors += one.errors
            found += [r.severity.name for r in one.results]
print(json.dumps({"found": found, "errors": errors, "seen": seen}))
"""


@dataclass(frozen=True)
class Sample:
    """A file or folder of the corpus: `danger` is "code", "other" or "" (benign)."""

    path: Path
    danger: str
    kind: str

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT / "fixtures"))


@dataclass(frozen=True)
class Ran:
    """What one process did."""

    code: int
    out: str
    err: str
    cpu: float
    late: bool = False


@dataclass(frozen=True)
class Tool:
    """A scanner: what is installed, how it is called, and what its answer means."""

    name: str
    packages: tuple[str, ...]
    words: Callable[[Path, str], list[str]]
    said: Callable[[Ran], str]
    how: str


# ---------------------------------------------------------------- what each one says


def _report(text: str) -> dict[str, Any]:
    """The JSON that is somewhere in an output; {} where none is."""
    start, end = text.find("{"), text.rfind("}")
    try:
        found = json.loads(text[start : end + 1]) if start >= 0 else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def by_picklescan(ran: Ran) -> str:
    if ran.code == 1 and "Infected files: 0" not in ran.err + ran.out:
        return "flagged"
    if ran.code == 0:
        return "skipped" if "Scanned files: 0" in ran.err + ran.out else "safe"
    return "refused" if ran.code == 2 else "crashed"


def by_modelscan(ran: Ran) -> str:
    # Its console breaks lines within texts; a broken line is no JSON of itself.
    report = _report(ran.out.replace("\n", ""))
    if ran.code == 1 or report.get("issues"):
        return "flagged"
    return {0: "safe", 2: "refused", 3: "skipped"}.get(ran.code, "crashed")


def by_fickling(ran: Ran) -> str:
    report = _report(ran.out)
    if ran.code or not report:
        return "crashed"
    if set(report["found"]) - {"LIKELY_SAFE"}:
        return "flagged"
    if report["errors"]:
        return "refused"
    return "safe" if report["seen"] else "skipped"


def by_modelaudit(ran: Ran) -> str:
    report = _report(ran.out)
    if ran.code == 1:
        return "flagged"
    if ran.code == 2:
        grave = {i.get("severity") for i in report.get("issues", ())} & {"warning", "critical"}
        return "flagged" if grave else "refused"
    if ran.code:
        return "crashed"
    return "safe" if report.get("files_scanned", 1) else "skipped"


def by_interop(ran: Ran) -> str:
    return {0: "safe", 1: "flagged", 2: "refused"}.get(ran.code, "crashed")


TOOLS = (
    Tool(
        "interop", (), lambda path, bin_: [sys.executable, "-m", "interop", "inspect", str(path)],
        by_interop, "`interop inspect FILE`: exit 1 is flagged, exit 2 refused",
    ),
    Tool(
        "picklescan", ("picklescan",),
        lambda path, bin_: [f"{bin_}/picklescan", "-g", "-p", str(path)],
        by_picklescan, "`picklescan -g -p FILE`: exit 1 is flagged, exit 2 refused",
    ),
    Tool(
        "modelscan", ("modelscan[tensorflow,h5py]",),
        lambda path, bin_: [f"{bin_}/modelscan", "scan", "-p", str(path), "-r", "json"],
        by_modelscan,
        "`modelscan scan -p FILE -r json`: exit 1 or an issue in its JSON is flagged, exit 2 "
        "refused, exit 3 skipped",
    ),
    Tool(
        # It imports typing_extensions on Python 3.11 and does not ask for it.
        "fickling", ("fickling", "typing_extensions"),
        lambda path, bin_: [f"{bin_}/python", "-c", FICKLING, str(path)],
        by_fickling,
        "its Python functions `scan_file`, and `scan_zip_archive` of an archive: anything but "
        "`LIKELY_SAFE` is flagged, an error alone refused, no pickle skipped",
    ),
    Tool(
        # Without torch beside it, it takes torch's own functions in a state dict for a danger.
        "modelaudit", ("modelaudit[pytorch,h5,onnx,safetensors,dill,joblib,flax,tflite,sevenzip]",),
        lambda path, bin_: [f"{bin_}/modelaudit", "scan", "--format", "json", "--no-cache",
                            str(path)],
        by_modelaudit,
        "`modelaudit scan --format json --no-cache FILE`: exit 1, or exit 2 with an issue of "
        "severity warning or critical, is flagged, another exit 2 refused",
    ),
)  # fmt: skip


# ---------------------------------------------------------------- the trial


def corpus() -> list[Sample]:
    """The hostile files with what they endanger, and the benign ones."""
    hostile = [
        Sample(FILES / "hostile" / one.name, "code" if one.rule == UNSAFE else "other", one.kind)
        for one in HOSTILE
    ]
    written = [p for p in sorted((FILES / "benign").iterdir()) if p.name not in PARTS]
    hostile += [
        Sample(p, "code", kind)
        for p in written
        if (kind := BY_THEIR_LIBRARY.get(p.name)) is not None
    ]
    benign = [p for p in written if p.name not in BY_THEIR_LIBRARY]
    benign += sorted((ROOT / "fixtures" / "digits").glob("*.pth"))
    benign += [ROOT / "fixtures" / what / "model" for what in ("text", "speech")]
    return [*hostile, *(Sample(p, "", "") for p in benign)]


def run(words: list[str], folder: Path) -> Ran:
    """One process with what it said and its CPU seconds, those of its children included."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    # modelaudit would report each scan to its makers, and wait for the answer.
    environment |= {"PROMPTFOO_DISABLE_TELEMETRY": "1", "NO_ANALYTICS": "1", "COLUMNS": "200"}
    if words[0] != sys.executable:
        del environment["PYTHONPATH"]
    with (folder / "out").open("w+b") as out, (folder / "err").open("w+b") as err:
        process = subprocess.Popen(
            ["timeout", "-k", "1", str(LIMIT), *words],
            stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=environment, cwd=folder,
        )  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = code = os.waitstatus_to_exitcode(status)
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode("utf-8", "replace"))
    return Ran(code, said[0], said[1], used.ru_utime + used.ru_stime, late=code in (124, 137))


def outcome(tool: Tool, ran: Ran) -> str:
    """One of OUTCOMES."""
    if ran.late or ran.code < 0 or ran.code > 128:
        return "crashed"
    said = tool.said(ran)
    return "crashed" if said != "flagged" and "Traceback (most recent" in ran.err else said


def environment(tool: Tool, folder: Path) -> Path:
    """The folder of the tool's commands; the environment is made where it is missing."""
    if not tool.packages:
        return Path(sys.executable).parent
    place = folder / tool.name
    if not (place / "bin" / "python").exists():
        venv.create(place, with_pip=True)
        subprocess.run([place / "bin" / "pip", "install", "-q", *tool.packages], check=True)
    return place / "bin"


def version(tool: Tool, commands: Path) -> str:
    if not tool.packages:
        from interop import __version__

        return __version__
    code = f"from importlib.metadata import version; print(version({tool.name!r}))"
    done = subprocess.run([commands / "python", "-c", code], capture_output=True, text=True,
                          check=True)  # fmt: skip
    return done.stdout.strip()


def tried(samples: Iterable[Sample], folder: Path, jobs: int) -> dict[str, Any]:
    """What each tool says of each sample: {tool: {"version", "how", "files": {name: ...}}}."""
    samples = list(samples)
    found: dict[str, Any] = {}

    def one(work: tuple[Tool, Path, Sample]) -> tuple[str, dict[str, Any]]:
        tool, commands, sample = work
        with tempfile.TemporaryDirectory() as scratch:
            ran = run(tool.words(sample.path, str(commands)), Path(scratch))
        return sample.name, {"said": outcome(tool, ran), "cpu": round(ran.cpu, 3)}

    for tool in TOOLS:
        commands = environment(tool, folder)
        # The first start compiles the tool's own modules, which a later one has.
        one((tool, commands, samples[0]))
        with ThreadPoolExecutor(jobs) as pool:
            files = dict(pool.map(one, [(tool, commands, s) for s in samples]))
        found[tool.name] = {"version": version(tool, commands), "how": tool.how, "files": files}
        print(tool.name, dict(Counter(f["said"] for f in files.values())), flush=True)
    return found


def result(samples: Iterable[Sample], tools: Mapping[str, Any]) -> dict[str, Any]:
    """The counts of each tool by what the files endanger, and its time against interop's."""
    every, table = list(samples), {}
    for name, tool in tools.items():
        files = tool["files"]
        samples = [s for s in every if s.name in files]
        timed = [n for n, f in files.items() if "cpu" in f and "cpu" in _of_interop(tools, n)]
        cpu = [files[n]["cpu"] for n in timed]
        own = [_of_interop(tools, n)["cpu"] for n in timed]
        groups: dict[str, Any] = {
            word: dict(Counter(files[s.name]["said"] for s in samples if s.danger == danger))
            for word, danger in (("code", "code"), ("other", "other"), ("benign", ""))
        }
        table[name] = {
            **groups,
            **{word: {danger: _kinds(samples, files, danger, said) for danger in ("code", "other")}
               for word, said in (("false safe", "safe"), ("not scanned", "skipped"))},
            "false alarms": sorted(
                s.name for s in samples
                if not s.danger and files[s.name]["said"] in ("flagged", "refused")
            ),
            "crashed": sorted(s.name for s in samples if files[s.name]["said"] == "crashed"),
            "timed": len(timed),
            "cpu seconds a file": round(median(cpu), 3),
            "cpu seconds of all": round(sum(cpu), 1),
            "ratio to interop": round(sum(cpu) / sum(own), 2),
        }  # fmt: skip
    counts = Counter(s.danger or "benign" for s in every)
    return {"machine": machine(), "samples": dict(counts), "table": table, "tools": tools}


def _of_interop(tools: Mapping[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = tools["interop"]["files"].get(name, {})
    return found


def _kinds(
    samples: Iterable[Sample], files: Mapping[str, Any], danger: str, said: str
) -> dict[str, int]:
    """The kinds of the files of which a tool said that, and how many of each there are."""
    kinds = (s.kind for s in samples if s.danger == danger and files[s.name]["said"] == said)
    return dict(sorted(Counter(kinds).items()))


# ---------------------------------------------------------------- the page


def page(found: Mapping[str, Any]) -> list[str]:
    """The tables of docs/scanners.md, from the stored result alone."""
    n, tools, table = found["samples"], found["tools"], found["table"]
    rows = [
        f"| tool | files tried | code ({n['code']} files): flagged | refused | false safe | "
        "not scanned | "
        f"other dangers ({n['other']} files): flagged | refused | passed | not scanned | "
        f"benign ({n['benign']} files): false alarm | of these refused | not scanned | crashed |",
        "| --- " * 14 + "|",
    ]
    for name, row in table.items():
        code, other, benign = (
            [row[group].get(word, 0) for word in ("flagged", "refused", "safe", "skipped")]
            for group in ("code", "other", "benign")
        )
        counts = [*code, *other, benign[0] + benign[1], benign[1], benign[3], len(row["crashed"])]
        counts = [len(tools[name]["files"]), *counts]
        rows.append(f"| {name} {tools[name]['version']} | {' | '.join(map(str, counts))} |")
    rows += [
        "",
        "| tool | files timed | CPU seconds a file (median) | in all | to interop's on the same |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, row in table.items():
        rows.append(
            f"| {name} | {row['timed']} | {row['cpu seconds a file']:.2f} | "
            f"{row['cpu seconds of all']:.0f} | {row['ratio to interop']:.1f} |"
        )
    rows += ["", "Of the files that run code, which kinds each calls safe, or does not scan:", ""]
    for name, row in table.items():
        safe, skipped = (
            ", ".join(f"{kind} ({count})" for kind, count in row[word]["code"].items()) or "none"
            for word in ("false safe", "not scanned")
        )
        rows.append(f"- {name}. False safe: {safe}. Not scanned: {skipped}.")
    rows += ["", "Which benign files each flags or refuses:", ""]
    for name, row in table.items():
        files = [f"`{f.removeprefix('files/benign/')}`" for f in row["false alarms"]]
        rows.append(f"- {name}: {', '.join(files) or 'none'}")
    rows += ["", "How each was called, and what counts as what:", ""]
    rows += [f"- {name}: {tool['how']}" for name, tool in tools.items()]
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("patterns", nargs="*", metavar="PATTERN")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--environments", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    every = corpus()
    some = [s for s in every if not given.patterns or any(fnmatch.fnmatch(s.name, p)
                                                          for p in given.patterns)]  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="interop-scanners-") as scratch:
        tools = tried(some, (given.environments or Path(scratch)).absolute(), given.jobs)
    if given.patterns:
        stored = json.loads((RESULTS / "scanners.json").read_text("utf-8"))["tools"]
        for name, tool in tools.items():
            if stored[name]["version"] != tool["version"]:
                print(f"{name} is another version than that of the stored result: try all files")
                return 1
            known = {**stored[name]["files"], **tool["files"]}
            tool["files"] = {s.name: known[s.name] for s in every if s.name in known}
    found = result(every, tools)
    print("\n".join(page(found)))
    store("scanners", found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
