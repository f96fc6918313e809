"""The study of scanners: an answer is told from a crash, files are counted, the page says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import readme, scanners
from benchmarks.process import ROOT
from benchmarks.scanners import Ran, Sample

BY_NAME = {tool.name: tool for tool in scanners.TOOLS}


@pytest.mark.parametrize(
    ("tool", "code", "out", "err", "said"),
    [
        ("interop", 0, "", "", "safe"),
        ("interop", 1, "", "", "flagged"),
        ("interop", 2, "", "", "refused"),
        ("interop", 4, "", "Traceback (most recent call last):", "crashed"),
        ("picklescan", 1, "", "Infected files: 1", "flagged"),
        ("picklescan", 0, "", "Scanned files: 1\nInfected files: 0", "safe"),
        ("picklescan", 0, "", "Scanned files: 0", "skipped"),
        ("picklescan", 2, "", "", "refused"),
        ("modelscan", 1, '{"issues": [{"a": "b \nc"}]}', "", "flagged"),
        ("modelscan", 2, 'Scanning …\n{"issues": [{"a": 1}], "errors": [1]}', "", "flagged"),
        ("modelscan", 2, '{"issues": [], "errors": [1]}', "", "refused"),
        ("modelscan", 3, "", "", "skipped"),
        ("fickling", 0, '{"found": ["LIKELY_SAFE"], "errors": [], "seen": 1}', "", "safe"),
        ("fickling", 0, '{"found": ["SUSPICIOUS"], "errors": ["x"], "seen": 1}', "", "flagged"),
        ("fickling", 0, '{"found": [], "errors": ["x"], "seen": 0}', "", "refused"),
        ("fickling", 0, '{"found": [], "errors": [], "seen": 0}', "", "skipped"),
        ("fickling", 1, "", "Traceback (most recent call last):", "crashed"),
        ("modelaudit", 1, "{}", "", "flagged"),
        ("modelaudit", 2, '{"issues": [{"severity": "critical"}]}', "", "flagged"),
        ("modelaudit", 2, '{"issues": [{"severity": "info"}]}', "", "refused"),
        ("modelaudit", 0, '{"files_scanned": 0}', "", "skipped"),
        ("modelaudit", 0, '{"files_scanned": 1}', "", "safe"),
    ],
)
def test_what_a_tool_says(tool: str, code: int, out: str, err: str, said: str) -> None:
    ran = Ran(code, out, err, 0.1)
    assert scanners.outcome(BY_NAME[tool], ran) == said
    assert scanners.outcome(BY_NAME[tool], Ran(-11, out, err, 0.1)) == "crashed"
    assert scanners.outcome(BY_NAME[tool], Ran(124, out, err, 0.1, late=True)) == "crashed"


def test_files_are_counted_by_what_they_endanger() -> None:
    root = ROOT / "fixtures"
    samples = [Sample(root / n, d, "kind") for n, d in (("a", "code"), ("b", "other"), ("c", ""))]
    says = {"interop": ("flagged", "refused", "safe"), "other": ("safe", "skipped", "flagged")}
    tools = {}
    for name, words in says.items():
        files = {s.name: {"said": x, "cpu": 0.5} for s, x in zip(samples, words, strict=True)}
        tools[name] = {"version": "1", "how": "so", "files": files}
    found = scanners.result(samples, tools)
    assert found["samples"] == {"code": 1, "other": 1, "benign": 1}
    assert found["table"]["interop"]["false safe"] == {"code": {}, "other": {}}
    other = found["table"]["other"]
    assert other["false safe"]["code"] == {"kind": 1} and other["false alarms"] == ["c"]
    assert other["not scanned"]["other"] == {"kind": 1} and other["ratio to interop"] == 1
    assert "| other 1 | 3 | 0 | 0 | 1 | 0 | 0 | 0 | 0 | 1 | 1 | 0 | 0 | 0 |" in scanners.page(found)


def test_a_process_is_measured_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanners, "LIMIT", 1)
    ran = scanners.run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], tmp_path)
    assert (ran.code, ran.out, ran.err, ran.late) == (3, "out\n", "err\n", False)
    assert scanners.run(["/bin/sleep", "30"], tmp_path).late


def test_interop_passes_no_hostile_file_and_each_has_its_answer() -> None:
    found = readme._result("scanners")
    every = {s.name: s for s in scanners.corpus()}
    for tool in found["tools"].values():
        assert set(tool["files"]) <= set(every)
    table = found["table"]["interop"]
    assert table["false safe"] == table["not scanned"] == {"code": {}, "other": {}}
    assert not table["crashed"]
    for name, said in found["tools"]["interop"]["files"].items():
        assert said["said"] != "safe" or not every[name].danger, name


def test_the_page_is_that_of_the_stored_result() -> None:
    block = readme.SCANNERS.search(readme.SCANNERS_PAGE.read_text("utf-8"))
    assert block is not None
    assert block.group(0).splitlines()[2:-2] == readme.scanners()
