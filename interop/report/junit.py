"""A Report -> JUnit XML: what CI servers show as tests."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from interop.facts import Answer, Level, Report


def render(report: Report) -> str:
    """One test case a verdict, proof and finding; errors fail, unknowns are errors."""
    suite = Element("testsuite", name=f"interop {report.command}")
    failures = errors = skipped = 0
    for verdict in report.verdicts:
        case = _case(suite, "verdict", str(verdict.intent))
        asked = report.details.get("intent") in (None, str(verdict.intent))
        if verdict.answer is Answer.NO and asked:
            SubElement(case, "failure", message=_clean(verdict.why), type="verdict")
            failures += 1
        elif verdict.answer is Answer.UNKNOWN and asked:
            SubElement(case, "error", message=_clean(verdict.why), type="unknown")
            errors += 1
        elif verdict.answer is not Answer.YES:
            SubElement(case, "skipped", message=_clean(f"{verdict.answer}: {verdict.why}"))
            skipped += 1
    for proof in report.proofs:
        case = _case(suite, "proof", proof.name, time=proof.seconds)
        if not proof.holds:
            SubElement(case, "failure", message=_clean(proof.what), type="proof")
            failures += 1
    for found in report.findings:
        case = _case(suite, "finding", found.rule)
        if found.level is Level.ERROR and _counts(report, found.breaks):
            failure = SubElement(case, "failure", message=_clean(found.what), type=found.rule)
            failure.text = _clean(found.hint)
            failures += 1
        elif found.answer is Answer.UNKNOWN and _counts(report, found.breaks):
            SubElement(case, "error", message=_clean(found.what), type=found.rule)
            errors += 1
        else:
            note = SubElement(case, "system-out")
            note.text = _clean(f"{found.level}: {found.what}")
    suite.set("tests", str(len(suite)))
    suite.set("failures", str(failures))
    suite.set("errors", str(errors))
    suite.set("skipped", str(skipped))
    suites = Element("testsuites")
    suites.append(suite)
    indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(suites, "unicode") + "\n"


def _case(suite: Element, kind: str, name: str, time: float = 0.0) -> Element:
    classname = f"{suite.get('name', '').replace(' ', '.')}.{kind}"
    return SubElement(suite, "testcase", classname=classname, name=name, time=f"{time:.3f}")


def _counts(report: Report, breaks: tuple[object, ...]) -> bool:
    intent = report.details.get("intent")
    return intent is None or intent in {str(b) for b in breaks}


def _clean(text: str) -> str:
    """XML 1.0 has no place for control characters, which a tensor's name may hold."""
    return "".join(c if c >= " " or c in "\t\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
