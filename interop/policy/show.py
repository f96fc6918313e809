"""A Policy -> each of its values and where it came from, for `interop gate --show-config`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from interop.policy.keys import KEYS
from interop.policy.policy import DEFAULTS, Policy, Settings, Waiver
from interop.report.sanitize import in_json
from interop.rules import all_rules


def shown(policy: Policy, today: date) -> list[str]:
    """Lines "key = value  # where", which are TOML themselves but for the values that are none."""
    rows = [*_known(policy.settings), *_rules(policy.settings)]
    rows += [_waiver(w, today) for w in policy.waivers]
    for section in policy.sections:
        rows += [("", "", ""), (f"[[models]] path = {_text(section.path)}", "", section.origin)]
        rows += [(f"  {k} = {_text(v)}", "", where) for k, (v, where) in section.settings.items()]
        rows += [("  " + text, rest, where) for text, rest, where in
                 (_waiver(w, today) for w in section.waivers)]  # fmt: skip
    wide = max(len(text) for text, _, _ in rows if len(text) <= 60)
    lines = [
        f"{text.ljust(wide)}  # {where}{rest}" if where else text for text, rest, where in rows
    ]
    return [f"# policy: {policy.source}", *lines]


def _known(settings: Settings) -> Iterator[tuple[str, str, str]]:
    for key in KEYS:
        value, where = settings.get(key.name, (key.default, DEFAULTS))
        yield f"{key.name} = {_text(value)}", "", where


def _rules(settings: Settings) -> Iterator[tuple[str, str, str]]:
    for rule, explained in all_rules().items():
        value, where = settings.get(f"rules.{rule}", (str(explained.rule.level), DEFAULTS))
        yield f"rules.{rule} = {_text(value)}", "", where


def _waiver(waiver: Waiver, today: date) -> tuple[str, str, str]:
    at = f" at {waiver.place}" if waiver.place else ""
    state = "expired, and counts no more" if waiver.expires < today else "in force"
    text = f"waiver of {waiver.rule}{at} until {waiver.expires}: {waiver.reason}"
    return f"# {text}", f" ({state})", waiver.origin


def _text(value: Any) -> str:
    return "none" if value is None else in_json(json.dumps(value, ensure_ascii=False))
