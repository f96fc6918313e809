"""What several commands show alike: inputs, verdicts, proofs, findings, notes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from itertools import islice
from typing import TypeVar

from interop.facts import AxisDomain, Finding, Proof, Report
from interop.report.table import WIDTH, by_row, shorten_path, table, wrap
from interop.report.wording import skipped_by_reason

T = TypeVar("T")


def input_lines(report: Report) -> list[str]:
    if not (rows := [[i.role, shorten_path(i.path, 34)] for i in report.inputs]):
        return []
    role, path = (max(len(r[n]) for r in rows) for n in (0, 1))
    lines: list[str] = []
    for given in report.inputs:
        front = f"{given.role.ljust(role)}  {shorten_path(given.path, 34).ljust(path)}  "
        if len(front) + len(given.summary) <= WIDTH:
            lines.append((front + given.summary).rstrip())
        else:
            lines.append(front.rstrip())
            indent = " " * (role + 2)
            lines += wrap(given.summary, WIDTH, initial_indent=indent, subsequent_indent=indent)
    return lines


def verdict_lines(report: Report) -> list[str]:
    return table([[str(v.intent), str(v.answer), v.why] for v in report.verdicts])


def proof_lines(proofs: tuple[Proof, ...]) -> list[str]:
    if not proofs:
        return []
    rows = [["proof", "", "what was seen"]]
    rows += [[p.name, "holds" if p.holds else "FAILS", p.what] for p in proofs]
    return table(rows)


def finding_lines(report: Report) -> list[str]:
    if not report.findings:
        return []
    first, *others = by_row([["level", "rule", "breaks"], *map(_head, report.findings)])
    # The text of a finding wants the whole width: it stands below its head line.
    out = list(first)
    for lines, finding in zip(others, report.findings, strict=True):
        out += lines
        out += wrap(finding.what, WIDTH, initial_indent="  ", subsequent_indent="  ")
        if finding.hint:
            out += wrap(
                finding.hint, WIDTH, initial_indent="  fix: ", subsequent_indent="       ",
                break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
    return out


def _head(finding: Finding) -> tuple[str, str, str]:
    return str(finding.level), finding.rule, ", ".join(finding.breaks) or "-"


def skipped_lines(report: Report, word: str = "not checked") -> list[str]:
    return [
        line
        for why, rules in skipped_by_reason(report).items()
        for line in wrap(f"{word}: {', '.join(rules)}: {why}", WIDTH, subsequent_indent="  ",
                         break_on_hyphens=False)
    ]  # fmt: skip


def note_lines(notes: Iterable[str]) -> list[str]:
    return [line for note in notes for line in wrap(note, WIDTH)]


def domain_lines(axes: Iterable[AxisDomain]) -> list[str]:
    """The sizes that each open axis takes, one line for axes that take the same."""
    by_words: dict[str, dict[str, None]] = {}
    for axis in axes:
        name = axis.name or f"{axis.input} axis {axis.axis}"
        by_words.setdefault(axis.words(), {})[name] = None
    rows = [[", ".join(names), words] for words, names in by_words.items()]
    return table([["axis", "sizes"], *rows]) if rows else []


MOST_LISTED = 36  # of names in a row: more of them nobody reads in a terminal


def listing(
    items: Collection[T],
    show: Callable[[T], str] = str,
    between: str = ", ",
    most: int = MOST_LISTED,
) -> str:
    """The first of many things in a row, and how many more there are.

    `show` makes a text of one; it is asked of those alone that are shown.
    """
    shown = between.join(map(show, islice(items, most)))
    more = len(items) - most
    return f"{shown} and {more:,} more (--format json has all)" if more > 0 else shown


def short_name(name: str, most: int = 44) -> str:
    if not name:
        return "(the tensor itself)"
    return name if len(name) <= most else f"…{name[1 - most :]}"
