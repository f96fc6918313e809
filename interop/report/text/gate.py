"""Whether a candidate passes, for a terminal."""

from __future__ import annotations

from interop.facts import Report
from interop.facts.sections.gate import GateSection
from interop.report.table import WIDTH, table, wrap
from interop.report.text.measurements import measured_blocks
from interop.report.text.shared import finding_lines, input_lines, proof_lines, verdict_lines
from interop.report.wording import headline


def blocks(report: Report) -> list[list[str]]:
    first = wrap(headline(report), WIDTH, subsequent_indent="      ")
    section = report.section(GateSection)
    policy = {} if section.policy is None else {"policy": section.policy}
    sources = {**policy, **(section.evidence or {})}
    shown = table([[k, v] for k, v in sources.items()])
    if section.other_intents:
        line = f"not asked by this policy: {', '.join(section.other_intents)}"
        shown += wrap(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return [
        first,
        input_lines(report),
        verdict_lines(report),
        proof_lines(report.proofs),
        *measured_blocks(report),
        finding_lines(report),
        shown,
    ]
