"""Policies and evidence that are not what they should be: an error or a verdict, never a pass."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import date
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from fixtures import hostile
from interop.check import check
from interop.check.options import CheckOptions
from interop.errors import ConfigError
from interop.facts import PROOFS, Answer, Input, Intent, Measurement, Proof, Report
from interop.facts.sections.bench import BenchSection
from interop.facts.sections.check import ValueComparison
from interop.gate import gate
from interop.gate.bundle import sealed
from interop.policy import compose, toml
from interop.policy.policy import Policy, read_policy
from interop.policy.show import shown
from interop.report import render
from interop.report.json import read_report
from tests.fuzz.guided import mutators as m
from tests.fuzz.guided.checks import FORMS
from tests.fuzz.guided.target import Finding, Target
from tests.fuzz.guided.watch import bounded, watched
from tests.helpers.commands import ROOT

TODAY = date(2026, 1, 1)
_CODES = {0, 1, 2, 3}


def _checked(folder: Path) -> Report:
    """The check of two small files, of the same names and other values."""
    for name, fill in (("a", b"\0"), ("b", b"\1")):
        entries = {
            f"fc.{part}": {"dtype": "F32", "shape": shape, "data_offsets": place}
            for part, shape, place in (("weight", [3, 4], [0, 48]), ("bias", [3], [48, 60]))
        }
        (folder / f"{name}.safetensors").write_bytes(hostile.safetensors(entries, fill * 60))
    a, b = folder / "a.safetensors", folder / "b.safetensors"
    return check(a, b, CheckOptions(content_hash=True, intent=Intent.RELOAD))


def _judged(policy: Policy, reports: list[Report]) -> Report:
    made = gate(policy, reports)
    if made.exit_code not in _CODES:
        raise Finding("exit-code", str(made.exit_code))
    return made


# ---------------------------------------------------------------- policies


def policies(folder: Path) -> Callable[[bytes], None]:
    checked = _checked(folder)
    assert _judged(Policy(intent=Intent.RELOAD), [checked]).exit_code == 0
    path = folder / "interop.toml"

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with watched(folder), bounded():
            try:
                policy = read_policy(path)
            except ConfigError as error:
                if not error.fix or "\n" in str(error):
                    raise Finding("poor-refusal", str(error)) from None
                str(error).encode("utf-8", "strict")
                return
            for own in (policy, policy.of(folder / "models" / "a.pth"), policy.of("s3://x/y")):
                _followed(own, checked)
            toml.load(path)
        _as_written(policy, data)

    return run


def _followed(policy: Policy, checked: Report) -> None:
    lines = "\n".join(shown(policy, TODAY))
    lines.encode("utf-8")
    policy.sha256(TODAY)
    if any(weight != weight for weight in policy.score.values()):
        raise Finding("score", str(policy.score))
    made = _judged(policy, [checked])
    asks = policy.check or policy.export or policy.bench
    if made.exit_code == 0 and asks:
        raise Finding("passes-without-evidence", f"{made.summary}; {policy.settings}")
    for form in FORMS:
        render(made, form).encode("utf-8")


def _as_written(policy: Policy, data: bytes) -> None:
    """What the file says in so many words is what holds."""
    import tomllib

    document = tomllib.loads(data.decode("utf-8"))
    for key, value in document.get("budgets", {}).items():
        if policy.budgets.get(key) != value:
            raise Finding("budget-lost", f"{key} = {value!r}; {policy.budgets}")
    if "intent" in document and policy.intent != document["intent"]:
        raise Finding("intent-lost", str(policy.intent))


def _policies() -> Iterable[bytes]:
    yield (ROOT / "fixtures" / "interop.toml").read_bytes()
    yield compose.text([]).encode()
    lines = compose.text([]).splitlines()
    yield "\n".join(
        line.removeprefix("# ") for line in lines if "=" in line or "[" in line
    ).encode()
    yield b"""intent = "reload"
[rules]
key-unexpected = "warn"
evidence-missing = "off"
[budgets]
accuracy-drop = 1
latency-ratio = 1.5
opset-min = 13
[evidence]
export = true
bench = true
check = true
max-age = "14 days"
accept = ["stated", "measured"]
providers = ["CPUExecutionProvider"]
[facts]
labels = ["cat", "dog"]
preprocess = {resize = [8, 8], mean = [0, 0, 0], std = [1, 1, 1]}
[assess]
accuracy = 1.0
[[waivers]]
rule = "key-missing"
place = "fc.*"
reason = "known"
expires = 2030-12-31
[[models]]
path = "models/**"
intent = "transfer"
[models.budgets]
size-mb = 10
[[models.waivers]]
rule = "tensor-dtype-narrowed"
reason = "half"
expires = "2020-01-01"
"""


# ---------------------------------------------------------------- evidence

_FIGURE = Measurement("accuracy change", "points", 0.0,
                      conditions={"between": "models", "mcnemar_p": 0.5})  # fmt: skip
_VALUES = ValueComparison(
    sentence="all moved", compared=2, equal=0, counters_moved=0, not_compared=(), moved=(),
    renamed=(),
)  # fmt: skip
_ASKING = {
    "export": Policy(intent=Intent.RELOAD, export=True),
    "bench": Policy(intent=Intent.RELOAD, bench=True, budgets={"accuracy-drop": 1.0}),
    "check": Policy(intent=Intent.RELOAD, check=True, values=False),
}


@cache
def _sound(checked_in: Path) -> dict[str, Report]:
    """A report of each command with which the gate passes."""
    checked = _checked(checked_in)
    a, b = (i.facts["content_sha256"] for i in checked.inputs)
    given = (
        Input("A", "a.pth", "", {"content_sha256": a}),
        Input("B", "b.pth", "", {"content_sha256": b}),
        Input("data", "heldout", "", {"sha256": "0" * 64}),
    )
    return {
        "export": Report(
            "export", Answer.YES, "", inputs=(replace(given[1], role="checkpoint"),),
            proofs=tuple(Proof(n, True, "what was seen") for n in PROOFS),
        ),
        "bench": Report(
            "bench", Answer.YES, "", inputs=given, measurements=(_FIGURE,),
            details=BenchSection(device="cpu"),
        ),
        "check": replace(checked, details=replace(checked.details, values=_VALUES)),
    }  # fmt: skip


def evidence(folder: Path) -> Callable[[bytes], None]:
    checked = _checked(folder)
    hashes = [i.facts["content_sha256"] for i in checked.inputs]
    path = folder / "report.json"
    for command, report in _sound(folder).items():
        sound = replace(report, file=str(path))
        assert gate(_ASKING[command], [checked, sound]).exit_code == 0, command

    def run(data: bytes) -> None:
        path.write_bytes(data)
        with watched(folder), bounded():
            try:
                report = read_report(path)
            except ConfigError as error:
                if not error.fix or "\n" in str(error):
                    raise Finding("poor-refusal", str(error)) from None
                return
            _round(report, folder)
            for command, policy in _ASKING.items():
                made = _judged(policy, [checked, report])
                if made.exit_code == 0:
                    _earned(command, json.loads(data), hashes)
            for form in FORMS:
                render(report, form).encode("utf-8")

    return run


def _round(report: Report, folder: Path) -> None:
    text = render(report, "json")
    (folder / "again.json").write_text(text, "utf-8")
    if render(read_report(folder / "again.json"), "json") != text:
        raise Finding("report-changed", report.command)


def _earned(command: str, document: dict[str, Any], hashes: list[str]) -> None:
    """Hold a pass against what the JSON itself says."""
    given = [i for i in document["inputs"] if i["role"] != "data"]
    contents = [i["facts"].get("content_sha256") for i in given]
    wanted = hashes[1:] if command == "export" else hashes
    sound = document["command"] == command and contents == wanted
    if command == "export":
        proofs = document["proofs"]
        sound &= document["outcome"] == "yes" and all(p["holds"] is True for p in proofs)
        sound &= set(PROOFS) <= {p["name"] for p in proofs}
    elif command == "bench":
        figures = [f for f in document["measurements"] if f["name"] == "accuracy change"]
        sound &= [i["role"] for i in given] == ["A", "B"]
        sound &= any(type(f["value"]) in (int, float) for f in figures)
        sound &= document["details"]["device"] == "cpu"
    else:
        sound &= document["details"].get("values") is not None
    if not sound:
        raise Finding("passes", f"{command}: {json.dumps(document)[:1500]}")


def _reports() -> Iterable[bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        for report in _sound(Path(name)).values():
            yield render(report, "json").encode()
    for path in sorted((ROOT / "tests" / "report" / "golden").glob("*.json")):
        yield path.read_bytes()


# ---------------------------------------------------------------- receipts


def receipts(folder: Path) -> Callable[[bytes], None]:
    place = folder / "bundle"
    place.mkdir()
    (place / "model.onnx").write_bytes(b"graph")

    def run(data: bytes) -> None:
        (place / "interop.json").write_bytes(data)
        with watched(folder), bounded():
            proof = sealed(str(place))
        if proof is not None and proof.holds:
            files = json.loads(data)["files"]
            if files.get("model.onnx") != _GRAPH:
                raise Finding("sealed", repr(data[:500]))

    return run


_GRAPH = sha256(b"graph").hexdigest()


def _receipts() -> Iterable[bytes]:
    yield json.dumps({"schema": 1, "files": {"model.onnx": _GRAPH}}).encode()
    yield json.dumps({"schema": 1, "files": {"model.onnx": _GRAPH, "a/b.json": "0"}}).encode()


def targets() -> list[Target]:
    return [
        Target("policy", policies, _policies, m.either((0.8, m.policy)), runs=200),
        Target("evidence", evidence, _reports, m.either((0.9, m.json_text)), runs=200),
        Target("receipt", receipts, _receipts, m.either((0.8, m.json_text)), weight=0.2, runs=200),
    ]  # fmt: skip
