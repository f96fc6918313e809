"""`interop explain RULE`: a rule's own docstring."""

from __future__ import annotations

import click

from interop.cli.output import print_lines
from interop.errors import ConfigError
from interop.report.table import WIDTH, table, wrap
from interop.rules import SECTIONS, all_rules, explain


@click.command(
    name="explain",
    epilog="""\b
Example:
  interop explain label-order-changed
  interop explain            (lists all rules)""",
)
@click.argument("rule", required=False)
def command(rule: str | None) -> None:
    """Explain RULE: what it finds, why it matters, an example, the fix."""
    if rule is None:
        rows = [["rule", "level", "what it finds"]]
        rows += [[e.rule.id, str(e.rule.level), e.title] for e in all_rules().values()]
        print_lines(*table(rows))
        return
    if (explained := explain(rule)) is None:
        from difflib import get_close_matches

        near = get_close_matches(rule, all_rules(), n=1)
        fix = f"did you mean {near[0]}?" if near else "'interop explain' lists them"
        raise ConfigError(f"no rule {rule!r}", fix=fix)
    breaks = ", ".join(explained.rule.breaks) or "nothing"
    print_lines(f"{explained.rule.id}: {explained.title}")
    print_lines(f"level {explained.rule.level}, breaks {breaks}")
    for section in SECTIONS:
        print_lines("", section)
        for paragraph in explained.sections[section].split("\n\n"):
            text = " ".join(paragraph.split())
            print_lines(*wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    "))
