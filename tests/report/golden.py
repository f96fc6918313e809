"""Reports -> the file that each format makes of each, so that a change of a format shows.

python -m tests.report.golden     (make golden: accept what is said now)
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from interop.facts import (
    Answer,
    Finding,
    Input,
    Intent,
    Level,
    Measurement,
    Proof,
    Report,
    Skipped,
    Verdict,
)
from interop.facts.sections.check import CheckSection
from interop.facts.sections.gate import GateSection, WaivedFinding
from interop.report import FORMATS, render
from interop.report.json import read_report

FOLDER = Path(__file__).with_name("golden")

# What `interop assess` measured of fixtures/digits' base, shufflenet, squeezenet and "random:" base
# on its heldout; the longest lists are cut.
ASSESSED = Path(__file__).with_name("assess.json")

# Whatever a name can hold that means something to one of the formats, or to a terminal.
HOSTILE = (
    "a|b`c``</code><script>alert(1)</script>*b* _i_ [l](http://evil.example) ![p](x) @octocat #12 "
    "\\ {0} & &amp; $x$ ~~s~~ https://evil.example www.evil.example %0A::error::x,y=z:\r\n"
    "# h\n- l\n\n::warning::w\x00\x1b[2J\x9b\u202e\udc80\ud800\ufffe]]></details>\N{SNOWMAN}"
)

_BASELINE = Input(
    "baseline", "models/prod.pth", "torchvision/resnet18  head fc 512 -> 10",
    {"bytes": 44_800_000, "content_sha256": "a" * 64, "place": ""},
)  # fmt: skip
_CANDIDATE = Input(
    "candidate", "models/b c.pth#ema", "torchvision/resnet18  head fc 512 -> 7",
    {"bytes": 44_700_000, "content_sha256": "b" * 64, "place": "ema"},
)  # fmt: skip


def fails() -> Report:
    return Report(
        command="gate",
        outcome=Answer.NO,
        summary="label-count-mismatch: 10 outputs became 7",
        inputs=(_BASELINE, _CANDIDATE),
        verdicts=(Verdict(Intent.REPLACE, Answer.NO, "10 outputs became 7"),),
        findings=(
            Finding("label-count-mismatch", Level.ERROR, (Intent.REPLACE,), Answer.NO,
                    "10 outputs became 7", hint="train the head anew for A's classes"),
            Finding("tensor-dtype-narrowed", Level.WARN, (), Answer.NO,
                    "2 tensors became float16", facts={"tensors": ["fc.weight", "fc.bias"]}),
            Finding("latency-regressed", Level.ERROR, (Intent.REPLACE,), Answer.NO,
                    "1.800 times as slow at batch 1", facts={"batch": 1}),
            Finding("latency-regressed", Level.ERROR, (Intent.REPLACE,), Answer.NO,
                    "1.700 times as slow at batch 8", facts={"batch": 8}),
            Finding("labels-unknown", Level.NOTE, (Intent.REPLACE,), Answer.UNKNOWN,
                    "neither file names its labels",
                    facts={"files": ["models/prod.pth", "models/b c.pth"]}),
        ),
        proofs=(
            Proof("loaded fraction", True, "100 % of the bytes", {}, 0.25),
            Proof("parity", False, "batch 7 departs by 0.3", {"batch": 7}, 0.5),
        ),
        measurements=(
            Measurement("accuracy change", "points", -0.0125, (-0.031, 0.006), (),
                        {"group": "change of model", "between": "models", "of": "B against A"}),
            Measurement("latency ratio", "ratio", 1.8, (1.7, 1.9), (1.75, 1.85),
                        {"group": "latency ratio", "between": "models", "of": "B / A", "batch": 1}),
        ),
        skipped=(Skipped("tensor-not-finite", "needs the tensors' values (--values)"),),
        environment={"interop": "0.0.0", "unix_time": 1_700_000_000},
        details=GateSection(
            intent=Intent.REPLACE,
            policy="interop.toml",
            evidence={"bench": "run here", "export": "run here"},
            waived=(
                WaivedFinding(rule="size-over-budget", level=Level.ERROR,
                              what="44.7 MB, 40 allowed",
                              reason="until the pruned one is trained", expires="2030-01-01"),
            ),
        ),
    )  # fmt: skip


def passes() -> Report:
    return Report(
        command="gate",
        outcome=Answer.YES,
        summary="replace holds, within the budgets of the policy",
        inputs=(_BASELINE, replace(_CANDIDATE, path="models/b.pth", facts={})),
        verdicts=(Verdict(Intent.REPLACE, Answer.YES, "the interface is A's"),),
        findings=(
            Finding("container-changed", Level.NOTE, (), Answer.NO, "zip became safetensors"),
        ),
        details=GateSection(intent=Intent.REPLACE),
    )  # fmt: skip


def inconclusive() -> Report:
    return replace(
        passes(),
        outcome=Answer.UNKNOWN,
        summary="evidence-missing: bench: the policy asks for it (budgets.accuracy-drop)",
        findings=(
            Finding("evidence-missing", Level.ERROR, (Intent.REPLACE,), Answer.UNKNOWN,
                    "bench: the policy asks for it (budgets.accuracy-drop)",
                    hint="hand it in with --evidence", facts={"evidence": "bench"}),
        ),
    )  # fmt: skip


def check() -> Report:
    return Report(
        command="check",
        outcome=Answer.NO,
        summary="reload: no, 3 of 122 tensors are not in B",
        inputs=(
            Input("A", "/srv/models/a.pth", "resnet18"),
            Input("B", "https://x.example/b.pth?key=secret", ""),
        ),
        verdicts=(
            Verdict(Intent.RELOAD, Answer.NO, "3 of 122 tensors are not in B"),
            Verdict(Intent.TRANSFER, Answer.UNKNOWN, "head and backbone cannot be told apart"),
            Verdict(Intent.REPLACE, Answer.NA, "no head"),
        ),
        findings=(
            Finding("key-missing", Level.ERROR, (Intent.RELOAD,), Answer.NO, "fc.weight and 2 more",
                    hint="give them", facts={"tensors": ["fc.weight", "fc.bias", "bn.weight"]}),
            Finding("key-renamed", Level.WARN, (Intent.RELOAD,), Answer.NO, "one", "stem.weight"),
        ),
        details=CheckSection(intent=Intent.RELOAD),
    )  # fmt: skip


def hostile() -> Report:
    """A report whose every text a model's author chose."""
    h = HOSTILE
    return Report(
        command="gate",
        outcome=Answer.NO,
        summary=h,
        inputs=(Input(h, f"dir/{h}", h, {"x": h}), Input("candidate", h, h)),
        verdicts=(Verdict(Intent.REPLACE, Answer.NO, h),),
        findings=(
            Finding("key-missing", Level.ERROR, (Intent.REPLACE,), Answer.NO, h, h, h,
                    {"tensors": [h, "fc.weight"], "files": [h], "other": h}),
            Finding("key-unexpected", Level.NOTE, (), Answer.NO, h, "", h, {"tensors": {h: h}}),
        ),
        proofs=(Proof(h, False, f"p {h}", {h: h}, 0.1), Proof(h, True, h)),
        measurements=(Measurement(h, "ms", 1.5, None, (), {"group": h, "of": h, "batch": 1}),),
        skipped=(Skipped("key-missing", h),),
        environment={"interop": h, "x": h},
        details=GateSection(
            intent=Intent.REPLACE, policy=h, evidence={h: h},
            waived=(WaivedFinding(rule="size-over-budget", what=h, reason=h, expires=h),),
        ),
    )  # fmt: skip


REPORTS = {
    "gate-fails": fails(),
    "gate-passes": passes(),
    "gate-inconclusive": inconclusive(),
    "check": check(),
    "assess": read_report(ASSESSED),
    "hostile": hostile(),
}


def cases() -> list[tuple[str, str]]:
    # A terminal's table pads each row to the longest name: of the hostile report that is all it is.
    every = [(name, form) for name in REPORTS for form in FORMATS]
    return [case for case in every if case != ("hostile", "text")]


def made(name: str, form: str) -> str:
    """What a format makes of a report; of a page what follows its style."""
    text = render(REPORTS[name], form)
    return text.partition("</head>\n")[2] if form == "html" else text


def file(name: str, form: str) -> Path:
    return FOLDER / f"{name}.{form}"


def write() -> None:
    for old in FOLDER.glob("*.*"):
        old.unlink()
    for name, form in cases():
        # As bytes: a line's end is a part of what is said.
        file(name, form).write_bytes(made(name, form).encode())


if __name__ == "__main__":
    write()
