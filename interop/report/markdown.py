"""A Report -> Markdown for a comment on a pull request, a job's summary or a card.

The verdict is the first line. Names come from files that others made: none is markup here, names
nobody (@), points at no issue (#) and leads nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from interop.facts import Finding, Measurement, Report
from interop.facts.sections.check import InspectSection
from interop.patterns import lazy
from interop.report import fed, swept
from interop.report.curves import WRITTEN, shortened
from interop.report.units import quantity
from interop.report.values import known, of, span
from interop.report.wording import (
    faults,
    headline,
    is_proof,
    one_line,
    skipped_by_reason,
    waived,
    word,
)

# GitHub refuses a comment of more than 65 536 characters.
MOST_CHARACTERS = 60_000
MOST_TEXT, MOST_ROWS = 1000, 50
MOST_EPOCHS = 12

# What could begin markup within a line (an underscore inside a word does not), and what names a
# person or an issue.
_MARKUP = lazy(r"[\\`*\[\]<>|~&$^@]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.|#(?=\d)", re.IGNORECASE)
_TAME = lazy(r"[^`|\\\s](?:[^`|\\\n]*[^`|\\\s])?")


def render(report: Report) -> str:
    """The comment: verdict, what was compared, verdicts and proofs, figures, findings.

    Of an assessment it is a section for a model card, its headings at level 2 and below.
    """
    first = f"**{text(word(report))}** {text(headline(report).removeprefix(word(report)).strip())}"
    if report.command == "assess":
        return _fitting([block for block in (first.strip(), *_assessed(report)) if block])
    blocks = [
        first.strip(),
        _inputs(report),
        _table(("", "", "why"), ((text(v.intent), text(v.answer), text(v.why))
                                 for v in report.verdicts)),
        _table(("proof", "", "what was seen"),
               ((text(p.name), "holds" if p.holds else "**fails**", text(p.what))
                for p in report.proofs)),
        _table(("measured", "of", "value", "95 % interval"), map(_figures, report.measurements)),
        *_fed(report),
        *_swept(report),
        *_learning(report),
        *(_finding(finding) for finding in faults(report)),
        *(_finding(finding, why) for finding, why in waived(report)),
        _skipped(report),
        *(f"Note: {text(note)}" for note in report.notes),
    ]  # fmt: skip
    return _fitting([block for block in blocks if block])


def _assessed(report: Report) -> Iterator[str]:
    """What was measured, on what, how sure it is, and what it does not show."""
    from interop.report import assessed

    of_all = assessed.Assessed(report)
    yield "## Reuse and interchange on a task"
    yield _said("Result", assessed.answers(of_all))
    yield _said("Data", [assessed.data_in_words(of_all)])
    yield _said("Method", assessed.folds_in_words(of_all))
    rows = ((str(n + 1), text(c), code(i.path), text(i.summary))
            for n, c in enumerate(of_all.names) if (i := of_all.given(c)))  # fmt: skip
    yield _table(("", "model", "file", "what it is"), rows)
    tables = assessed.tables(of_all)
    if tables:
        tables[:1] = [assessed.worded(tables[0]), *assessed.all_figures(of_all)]
    for one in tables:
        yield f"### {one.title}"
        yield _table(tuple(map(text, one.head)), (tuple(map(text, row)) for row in one.rows))
        yield tame(one.note)
        if one.title == assessed.INTERCHANGE:
            yield from _replacements(
                assessed.sentences(of_all), assessed.MOST_SENTENCES, assessed.about_p(of_all)
            )
    if limits := assessed.limits(of_all):
        yield "### Limits of this evidence"
        yield _said("Scope", limits)
    yield _said("Of the run", assessed.notes(report))


def _fed(report: Report) -> Iterator[str]:
    """How a model was fed, where inputs were given."""
    if (seen := report.section(InspectSection).fed) is None:
        return
    yield text(fed.headline(seen))
    for one in () if seen.why else (fed.answers(seen), fed.tried(seen)):
        yield _table(tuple(map(text, one.head)), (tuple(map(text, row)) for row in one.rows))


def _swept(report: Report) -> Iterator[str]:
    """How many models of a store there are of each kind."""
    if swept.is_swept(report):
        for one in swept.tables(report):
            yield _table(one.head, (tuple(map(text, row)) for row in one.rows))
        yield text(swept.unlisted(report))


def _learning(report: Report) -> Iterator[str]:
    """How a training went, a small table a phase; the epoch that was written is set in bold."""
    for head, body, left in shortened(report, MOST_EPOCHS):
        rows = (
            [f"**{text(c)}**" if WRITTEN in row[-1] and c else text(c) for c in row] for row in body
        )
        yield _table(tuple(map(text, head)), rows)
        yield f"… and {left} more epochs of {text(head[0])}, in the JSON report" if left else ""


def _replacements(replacements: Sequence[tuple[str, str]], most: int, about: str) -> Iterator[str]:
    rows = ((text(word), text(sentence)) for word, sentence in replacements[:most])
    yield _table(("", "why"), rows)
    more = len(replacements) - most
    yield (f"… and {more} more, in the JSON report. " if more > 0 else "") + about


def _said(label: str, sentences: Sequence[str]) -> str:
    """A paragraph that begins with a word of ours: what begins a line can be markup."""
    text = " ".join(sentences)
    return f"**{label}:** {tame(text)}" if text else ""


def text(words: str) -> str:
    """Words as one line of text, wherever in a line they stand but at its start."""
    cut = one_line(words)
    return tame(cut if len(cut) <= MOST_TEXT else cut[:MOST_TEXT] + "…")


def tame(words: str) -> str:
    """Words as one line in which nothing is markup, however long."""
    return _MARKUP.sub(_entity, one_line(words))


def _entity(match: re.Match[str]) -> str:
    # Whoever looks for names does so in what is shown: an invisible space keeps them apart.
    apart = "&#8203;" if match.group() in "@#" else ""
    return f"&#{ord(match.group())};{apart}"


def code(name: str) -> str:
    """A name set as code, in a line or a cell of a table."""
    shown = one_line(name)
    if _TAME.fullmatch(shown):
        return f"`{shown}`"
    # A span of backticks cannot hold every name; entities can, and GitHub names nobody in a code.
    plain = (c if c.isalnum() or not c.isascii() else f"&#{ord(c)};" for c in shown)
    return f"<code>{''.join(plain)}</code>"


def _inputs(report: Report) -> str:
    rows = ((text(i.role), code(i.path), text(i.summary)) for i in report.inputs)
    return _table(("", "file", "what it is"), rows)


def _figures(m: Measurement) -> tuple[str, ...]:
    batch = m.conditions.get("batch")
    at = f", batch {batch}" if batch is not None else ""
    value = quantity(m.value, m.unit) if known(m.value) else "not measured"
    return text(m.name), text(of(m) + at), text(value), text(span(m))


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    if not (cells := list(rows)):
        return ""
    lines = [head, ["---"] * len(head), *cells[:MOST_ROWS]]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    more = len(cells) - MOST_ROWS
    return f"{table}\n\n… and {more} more, in the JSON report" if more > 0 else table


def _finding(finding: Finding, waiver: str = "") -> str:
    """A fold: level, rule and what was found; what to do about it within."""
    level = "waived" if waiver else str(finding.level)
    # Within a line of HTML there are no spans of backticks, but entities are read.
    front = f"<b>{text(level)}</b> <code>{text(finding.rule)}</code> {text(finding.what)}"
    inner = [
        f"Waived: {text(waiver)}" if waiver else "",
        f"At {code(finding.place)}" if finding.place else "",
        f"Breaks: {', '.join(finding.breaks)}" if finding.breaks else "",
        f"Fix: {text(finding.hint)}" if finding.hint else "",
        "" if is_proof(finding) else f"What it means: {code(f'interop explain {finding.rule}')}",
    ]
    body = "\n\n".join(line for line in inner if line)
    return f"<details><summary>{front}</summary>\n\n{body}\n\n</details>"


def _skipped(report: Report) -> str:
    lines = [f"Not checked: {', '.join(map(code, rules))}: {text(why)}"
             for why, rules in skipped_by_reason(report).items()]  # fmt: skip
    return "\n\n".join(lines)


def _fitting(blocks: Sequence[str]) -> str:
    """As many blocks as a comment holds, and how many are left out."""
    kept: list[str] = []
    size = 0
    for n, block in enumerate(blocks):
        size += len(block) + 2
        if size > MOST_CHARACTERS:
            kept.append(f"… and {len(blocks) - n} more, in the JSON report")
            break
        kept.append(block)
    return "\n\n".join(kept) + "\n"
