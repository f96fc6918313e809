"""A waiver lets one finding pass until a day, with a reason; never evidence."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

from interop.check import check
from interop.check.options import CheckOptions
from interop.gate import gate
from interop.policy.policy import Policy, Waiver


def at(day: str) -> float:
    return datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC).timestamp()


def policy(rule: str, place: str = "") -> Policy:
    return Policy(waivers=(Waiver(rule, "callers know", date(2030, 1, 31), place),))


def test_a_waived_finding_is_told_and_breaks_nothing(digits: Path, derived: Path) -> None:
    checked = check(
        digits / "shufflenet.pth", derived / "relabelled.pth", CheckOptions(content_hash=True)
    )
    assert gate(Policy(), [checked], now=at("2030-01-31")).exit_code == 1
    made = gate(policy("label-order-changed"), [checked], now=at("2030-01-31"))
    assert made.exit_code == 0
    (found,) = made.findings
    assert "(waived until 2030-01-31: callers know)" in found.what and found.level == "note"
    assert made.verdicts[0].answer == "yes" and "waived" in made.verdicts[0].why
    (told,) = made.details.waivers
    assert (told.state, told.findings) == ("in force", 1)


def test_an_expired_waiver_waives_nothing_and_is_said(digits: Path, derived: Path) -> None:
    checked = check(
        digits / "shufflenet.pth", derived / "relabelled.pth", CheckOptions(content_hash=True)
    )
    made = gate(policy("label-order-changed"), [checked], now=at("2030-02-01"))
    assert made.exit_code == 1
    assert "the waiver of it expired on 2030-01-31" in made.summary
    assert made.details.waivers[0].state == "expired"


def test_a_waiver_of_another_rule_or_place_waives_nothing(digits: Path, derived: Path) -> None:
    checked = check(
        digits / "shufflenet.pth", derived / "relabelled.pth", CheckOptions(content_hash=True)
    )
    for other in (policy("key-missing"), policy("label-order-changed", "elsewhere/*")):
        made = gate(other, [checked], now=at("2030-01-01"))
        assert made.exit_code == 1 and made.details.waivers[0].findings == 0


def test_what_is_unknown_can_be_answered_for(digits: Path, derived: Path) -> None:
    checked = check(
        digits / "shufflenet.pth", derived / "plain.pth", CheckOptions(content_hash=True)
    )
    assert gate(Policy(), [checked]).exit_code == 3
    waivers = tuple(
        Waiver(rule, "served with our own", date(2030, 1, 31))
        for rule in ("labels-unknown", "preprocessing-unknown")
    )
    assert gate(Policy(waivers=waivers), [checked], now=at("2030-01-01")).exit_code == 0
