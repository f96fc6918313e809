"""A Report -> JUnit XML: what CI servers show as tests.

Of the elements that Jenkins' schema (junit-10.xsd of its xunit plugin) allows, and of no others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from interop.facts import Answer, Finding, Intent, Level, Report
from interop.report.sanitize import one_name
from interop.report.wording import headline, waived, word


@dataclass(frozen=True, slots=True)
class _Case:
    """A test; `said` is the element that tells how it ended, "" where it passed."""

    kind: str
    name: str
    said: str
    type: str = ""
    message: str = ""
    text: str = ""
    seconds: float = 0.0


def render(report: Report) -> str:
    """A suite of one test for the outcome and one each verdict, proof and finding.

    A test of it fails or errs if and only if the command's exit code is not 0.
    """
    cases = [_outcome(report), *_verdicts(report), *_proofs(report), *_findings(report)]
    name = f"interop {report.command}"
    counts = {"tests": len(cases), "failures": 0, "errors": 0, "skipped": 0}
    for case in cases:
        if case.said:
            counts[{"failure": "failures", "error": "errors"}.get(case.said, "skipped")] += 1
    suite = Element("testsuite", {"name": one_name(name)} | {k: str(v) for k, v in counts.items()})
    for case in cases:
        _add(suite, name, case)
    suites = Element("testsuites")
    suites.append(suite)
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, "unicode") + "\n"


def _outcome(report: Report) -> _Case:
    element = {1: "failure", 3: "error"}.get(report.exit_code, "")
    text = "" if element else headline(report)
    return _Case("outcome", "outcome", element, word(report), headline(report), text)


def _verdicts(report: Report) -> Iterator[_Case]:
    for verdict in report.verdicts:
        asked = _decides(report, (verdict.intent,))
        if verdict.answer is Answer.NO and asked:
            yield _Case("verdict", verdict.intent, "failure", "verdict", verdict.why)
        elif verdict.answer is Answer.UNKNOWN and asked:
            yield _Case("verdict", verdict.intent, "error", "unknown", verdict.why)
        elif verdict.answer is not Answer.YES:
            why = f"{verdict.answer}: {verdict.why}"
            yield _Case("verdict", verdict.intent, "skipped", "not asked", why)
        else:
            yield _Case("verdict", verdict.intent, "", text=verdict.why)


def _proofs(report: Report) -> Iterator[_Case]:
    for proof in report.proofs:
        # A proof that the outcome does not rest on has failed none the less; it is not hidden.
        element = "" if proof.holds else "failure" if report.exit_code else "skipped"
        text = proof.what if proof.holds else ""
        yield _Case("proof", proof.name, element, "proof", proof.what, text, proof.seconds)


def _findings(report: Report) -> Iterator[_Case]:
    for finding in report.findings:
        name = f"{finding.rule}: {finding.place}" if finding.place else finding.rule
        decides = _decides(report, finding.breaks)
        if finding.level is Level.ERROR and decides:
            yield _Case("finding", name, "failure", finding.rule, finding.what, finding.hint)
        elif finding.answer is Answer.UNKNOWN and decides:
            yield _Case("finding", name, "error", finding.rule, finding.what, finding.hint)
        else:
            yield _Case("finding", name, "", text=_said(finding))
    for finding, why in waived(report):
        yield _Case("finding", finding.rule, "skipped", "waived", f"waived: {why}", _said(finding))


def _said(finding: Finding) -> str:
    return f"{finding.level}: {finding.what}"


def _decides(report: Report, breaks: tuple[Intent, ...]) -> bool:
    """Whether what breaks these intents can be why the command does not end in 0."""
    return bool(report.exit_code) and (report.intent is None or report.intent in breaks)


def _add(suite: Element, name: str, case: _Case) -> None:
    classname = one_name(f"{name.replace(' ', '.')}.{case.kind}")
    time = f"{case.seconds:.3f}"
    test = SubElement(suite, "testcase", classname=classname, name=one_name(case.name), time=time)
    if case.said:
        ended = SubElement(
            test, case.said, type=one_name(case.type), message=one_name(case.message)
        )
        ended.text = one_name(case.text) or None
    elif case.text:
        SubElement(test, "system-out").text = one_name(case.text)
