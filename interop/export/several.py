"""Several checkpoints -> a bundle each in one folder, and one report; libraries are loaded once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import process_time

from interop.errors import InteropError
from interop.facts import Answer, Finding, Input, Report
from interop.facts.sections.export import ExportedBundle, ExportSection, ExportsSection

One = Callable[[str, Path], Report]  # a checkpoint and its bundle's folder -> its report


def several(folders: Mapping[str, Path], one: One) -> Report:
    """Exports each checkpoint by `one` to its own of `folders`.

    One that fails, or that cannot be built, keeps no other from its bundle: its reason stands in
    the report, whose outcome is NO then.
    """
    bundles: list[ExportedBundle] = []
    findings: list[Finding] = []
    inputs: list[Input] = []
    for checkpoint, folder in folders.items():
        began = process_time()
        try:
            report = one(checkpoint, folder)
        except InteropError as error:
            why = "; ".join(filter(None, (error.what, error.fix)))
            report = Report("export", Answer.NO, f"no bundle: {why}")
        bundles.append(_bundle(checkpoint, report, process_time() - began))
        findings += [replace(f, what=f"{checkpoint}: {f.what}") for f in report.findings]
        inputs += report.inputs
    failed = [b for b in bundles if b.outcome is not Answer.YES]
    first = f"; {failed[0].checkpoint}: {failed[0].summary}" if failed else ""
    return Report(
        command="export",
        outcome=Answer.NO if failed else Answer.YES,
        summary=f"{len(bundles) - len(failed)} of {len(bundles)} bundles hold all proofs{first}",
        inputs=tuple(inputs),
        findings=tuple(findings),
        details=ExportsSection(bundles=tuple(bundles)),
    )


def _bundle(checkpoint: str, report: Report, seconds: float) -> ExportedBundle:
    section = report.section(ExportSection)
    return ExportedBundle(
        checkpoint=checkpoint,
        bundle=section.bundle or None,
        outcome=report.outcome,
        summary=report.summary,
        hold=sum(p.holds for p in report.proofs),
        proofs=len(report.proofs) + len(report.skipped),
        route=section.route,
        cpu_seconds=seconds,
    )
