"""A Report -> one HTML page that needs nothing else: no script, no network, no second file.

What a report says of files that others made (names, labels, metadata) is text in it, never markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from interop.facts import Answer, Json, Report
from interop.facts.sections.check import CheckSection
from interop.facts.sections.doctor import DoctorSection
from interop.report import swept
from interop.report.html import fed, training
from interop.report.html.bench import Measured, cards, figures, flips, tables
from interop.report.html.components import Card, facts_table, flat
from interop.report.json import to_json
from interop.report.sanitize import plain as escaped
from interop.report.values import Table, plain
from interop.report.wording import loads, skipped_by_reason, word

_SIGNS = {Answer.YES: "✓", Answer.NO: "✗", Answer.UNKNOWN: "?", Answer.NA: "–"}
# Shown in a place of their own, or of use to programs alone.
_ELSEWHERE = (
    "values", "conditions", "predictions", "problems", "intent", "previews", "classes",
    "curves", "fed", "outcomes", "containers", "architectures", "rules",
)  # fmt: skip
# Of an assessment all that its tables, cards and drawings show.
_ASSESSED = (
    "candidates", "folds", "confusion", "curves", "order", "interchange", "margin", "weights",
    "left_out", "notes",
)  # fmt: skip


def render(report: Report) -> str:
    """The page, ending in a newline."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("page.html.j2").render(**view(report))
    return escaped(page).strip() + "\n"


def view(report: Report) -> dict[str, Any]:
    """All that the template lays out."""
    measured = Measured(report)
    shown = _assessed(report) if report.command == "assess" else _measured(report, measured)
    return {
        "report": report,
        "word": word(report),
        "sign": _SIGNS,
        "alarms": alarms(report),
        **shown,
        "flips": flips(measured),
        "findings": [(f, flat(f.facts)) for f in report.findings],
        "proofs": [(p, flat(p.facts)) for p in report.proofs],
        "inputs": [(i, flat(i.facts)) for i in report.inputs],
        "problems": report.section(DoctorSection).problems or (),
        "asked": report.intent,
        "skipped": skipped_by_reason(report),
        "placed": providers(report.environment),
        "facts_tables": _facts(report),
    }


def _measured(report: Report, measured: Measured) -> dict[str, Any]:
    return {
        "cards": [*fed.cards(report), *_values(report), *cards(measured)],
        "figures": [*fed.figures(report), *training.figures(report), *figures(measured)],
        "tables": [*fed.tables(report), *_swept(report), *_moved(report), *tables(measured)],
    }


def _assessed(report: Report) -> dict[str, Any]:
    from interop.report.assessed import Assessed
    from interop.report.html import assess

    of_all = Assessed(report)
    return {
        "cards": assess.cards(of_all),
        "figures": assess.figures(of_all),
        "tables": assess.page_tables(of_all),
    }


def alarms(report: Report) -> list[str]:
    """What a reader must know before any figure: it stands above all else."""
    alarms = [f"The proof “{p.name}” failed: {p.what}" for p in report.proofs if not p.holds]
    if noise := [f for f in report.findings if f.rule == "host-too-noisy"]:
        alarms.append(
            f"The host was too noisy to tell: {'; '.join(f.what for f in noise)}. Latency at "
            f"{'that batch size' if len(noise) == 1 else 'those batch sizes'} decides nothing; "
            f"accuracy is not touched by it. {noise[0].hint}".strip()
        )
    if report.outcome is Answer.UNKNOWN and not alarms:
        alarms.append(f"Not decided: {report.summary}")
    return alarms


def _values(report: Report) -> list[Card]:
    """What became of A's weights in B."""
    values = report.section(CheckSection).values
    return [Card("What became of the weights?", values.sentence)] if values else []


def _swept(report: Report) -> list[Table]:
    """How many models of a store there are of each kind."""
    return list(swept.tables(report)) if swept.is_swept(report) else []


def _moved(report: Report, most: int = 50) -> list[Table]:
    """The tensors that are least alike in A and B."""
    values = report.section(CheckSection).values
    if values is None or not values.moved:
        return []
    rows = tuple(
        (m.name, *map(plain, (m.unequal, m.elements, m.largest, m.mean, m.cosine)))
        for m in values.moved[:most]
    )
    more = len(values.moved) - most
    note = f"and {more} more, in the JSON report" if more > 0 else ""
    head = ("tensor", "unequal", "of", "largest difference", "mean", "cosine")
    return [Table("Tensors that are least alike", head, rows, tuple(range(1, 6)), note)]


def providers(environment: Mapping[str, Json]) -> Table | None:
    """Which provider each runtime had, and the nodes of its graph that landed elsewhere."""
    rows = []
    for name, conditions in environment.items():
        if isinstance(conditions, Mapping) and conditions.get("providers"):
            away = conditions.get("elsewhere") or []
            which = plain(away) if away else "every node is on it"
            first = plain(conditions["providers"][:1])
            rows.append((str(name), first, str(len(away)), which))
    if not rows:
        return None
    head = ("runtime", "provider", "nodes not on it", "which")
    return Table("Where the nodes of the graph ran", head, tuple(rows), (2,))


def _facts(report: Report) -> list[Table]:
    """Conditions, the machine and runtimes, and what else the report holds."""
    details = to_json(report.details)
    conditions = details.get("conditions") or {}
    loose = {k: v for k, v in report.environment.items() if not isinstance(v, Mapping)}
    host = {k: v for k, v in loose.items() if k not in conditions}
    if "unix_time" in host:
        host["made at"] = plain(host.pop("unix_time"), "unix_time")
    elsewhere = (*_ELSEWHERE, *(_ASSESSED if report.command == "assess" else ()))
    own = {k: v for k, v in details.items() if k not in elsewhere}
    rest = {k: v for k, v in own.items() if k not in conditions or conditions[k] != v}
    tables = (
        facts_table("Conditions", conditions),
        _runtimes(report.environment),
        facts_table("Machine and versions", host),
        *(_doctor(report) if report.command == "doctor" else (facts_table("Details", rest),)),
    )
    return [table for table in tables if table is not None]


def _doctor(report: Report) -> tuple[Table | None, ...]:
    """What is installed, and which providers really load."""
    section = report.section(DoctorSection)
    providers = {name: loads(state) for name, state in (section.providers or {}).items()}
    return (
        facts_table("Packages", section.packages or {}),
        facts_table("Execution providers", providers),
        facts_table("Hardware", {"GPU": section.gpu or "none found"}),
    )


def _runtimes(environment: Mapping[str, Json]) -> Table | None:
    """The conditions of each runtime side by side."""
    runtimes = {str(k): v for k, v in environment.items() if isinstance(v, Mapping)}
    rows = tuple(
        (
            key.replace("_", " "),
            *(plain(v[key], key) if key in v else "" for v in runtimes.values()),
        )
        for key in dict.fromkeys(str(k) for v in runtimes.values() for k in v)
    )
    return Table("Runtimes", ("", *runtimes), rows) if runtimes else None
