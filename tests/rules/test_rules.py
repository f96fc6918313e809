"""A rule is complete (docstring, fixtures, golden row), and fires where it should alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from fixtures.stamp import MODULE, stamp
from interop.facts import Answer, Case, Finding, Intent, Level, Rule, Verdict
from interop.rules import SECTIONS, Explained, _sections, all_rules, explain, finding, run
from interop.rules._needs import NEEDS
from tests.rules import matrix

RULES = all_rules()


def complaints(explained: Explained, folder: Path, golden: Collection[str]) -> list[str]:
    """What a rule still lacks to be accepted."""
    rule = explained.rule.id
    found = [f"no section {s}" for s in SECTIONS if not explained.sections.get(s, "").strip()]
    if not explained.title.endswith("."):
        found.append("no title")
    for half in matrix.HALVES:
        if not any((folder / half).glob("*")):
            found.append(f"no fixture {half}")
        if not any(line.startswith(f"{rule}/{half}: ") for line in golden):
            found.append(f"no golden row {half}")
    return found


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """The matrix as it is now: folder/half -> the rules that fire."""
    return dict(line.split(": ", 1) for line in matrix.lines())


def test_the_matrix_is_as_it_was(said: dict[str, str]) -> None:
    golden = dict(line.split(": ", 1) for line in matrix.GOLDEN.read_text("utf-8").splitlines())
    assert said == golden


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_is_complete(rule: str) -> None:
    golden = matrix.GOLDEN.read_text("utf-8").splitlines()
    assert complaints(RULES[rule], matrix.FIXTURES / rule, golden) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_fires_on_its_trigger_and_not_on_its_near_miss(
    rule: str, said: dict[str, str]
) -> None:
    assert rule in said[f"{rule}/trigger"].split()
    assert rule not in said[f"{rule}/near-miss"].split()


def test_an_incomplete_rule_is_refused(tmp_path: Path) -> None:
    title, sections = _sections("One sentence.\n\nWhat\n    Something.\n\nWhy\n")
    bare = Explained(Rule("some-fault", Level.ERROR, ()), lambda case: [], title, sections)
    assert complaints(bare, tmp_path, []) == [
        "no section Why",
        "no section Example",
        "no section Fix",
        "no fixture trigger",
        "no golden row trigger",
        "no fixture near-miss",
        "no golden row near-miss",
    ]


def test_a_stamped_rule_has_all_its_parts_and_does_not_fire_yet(tmp_path: Path) -> None:
    for folder in ("interop/rules", "fixtures/rules", "tests/rules"):
        (tmp_path / folder).mkdir(parents=True)
    golden = tmp_path / "tests/rules/matrix.txt"
    golden.write_text("key-missing/trigger: key-missing\nwrapper-changed/trigger: x\n")
    stamp("some-fault", tmp_path)
    rows = golden.read_text().splitlines()
    assert rows[1:3] == ["some-fault/trigger: -", "some-fault/near-miss: -"]
    names: dict[str, object] = {}
    exec(compile(MODULE.replace("{id}", "some-fault"), "some_fault.py", "exec"), names)
    title, sections = _sections(str(names["__doc__"]))
    made = Explained(names["RULE"], names["check"], title, sections)  # type: ignore[arg-type]
    folder = tmp_path / "fixtures/rules/some-fault"
    assert complaints(made, folder, rows) == []
    assert list(made.check(matrix.case_of(folder / "trigger"))) == []
    with pytest.raises(ValueError, match="exists already"):
        stamp("some-fault", tmp_path)
    with pytest.raises(ValueError, match="no rule id"):
        stamp("Fault", tmp_path)


def test_ids_name_their_modules_and_aliases_are_not_ids() -> None:
    for rule, explained in RULES.items():
        assert explained.check.__module__ == f"interop.rules.{rule.replace('-', '_')}"
        assert not set(explained.rule.aliases) & RULES.keys()
    assert explain("no-such-rule") is None


def test_the_rules_of_the_first_issue_are_there() -> None:
    wanted = {
        "key-missing",
        "key-unexpected",
        "key-prefix-shifted",
        "wrapper-changed",
        "container-changed",
        "tensor-shape-changed",
        "tensor-dtype-narrowed",
        "tensor-not-finite",
        "loaded-fraction-low",
        "backbone-mismatch",
        "head-width-changed",
        "label-count-mismatch",
        "label-order-changed",
        "preprocessing-unknown",
        "pickle-unsafe-global",
        "checkpoint-holds-code",
        "file-truncated",
        "file-unrecognised",
    }
    assert wanted <= RULES.keys()


def test_levels_can_be_changed_but_what_is_unknown_stays_unknown() -> None:
    case = matrix.case_of(matrix.FIXTURES / "labels-unknown" / "trigger")
    raised, _ = run(case, {"labels-unknown": Level.ERROR})
    assert [f.level for f in raised if f.rule == "labels-unknown"] == [Level.ERROR]
    off, _ = run(case, {"labels-unknown": Level.OFF})
    assert [(f.level, f.answer) for f in off if f.rule == "labels-unknown"] == [
        (Level.NOTE, Answer.UNKNOWN)
    ]
    missing = matrix.case_of(matrix.FIXTURES / "key-missing" / "trigger")
    assert "key-missing" not in {f.rule for f in run(missing, {"key-missing": Level.OFF})[0]}


def test_rules_that_lack_their_facts_are_skipped_and_said_to_be() -> None:
    from interop.identity import identify_file

    path = matrix.FIXTURES / "tensor-not-finite" / "trigger" / "b.pth"
    found, skipped = run(Case(b=identify_file(path)))
    assert "tensor-not-finite" not in {f.rule for f in found}
    assert ("tensor-not-finite", "needs the tensors' values (--values)") in {
        (s.rule, s.why) for s in skipped
    }


def test_a_finding_keeps_what_its_rule_says() -> None:
    rule = Rule("some-fault", Level.WARN, (Intent.RELOAD, Intent.REPLACE), answer=Answer.UNKNOWN)
    made = finding(rule, "what", breaks=(Intent.REPLACE,))
    assert made == Finding(
        "some-fault", Level.WARN, (Intent.REPLACE,), Answer.UNKNOWN, "what", facts={}
    )
    assert Verdict(Intent.RELOAD, Answer.NO, "why").answer == "no"


def unlike(rules: Mapping[str, Explained], needs: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The rules whose needs the table has in another way than they say it, or has for nothing."""
    said = {name.replace("-", "_"): one.rule.needs for name, one in rules.items()}
    other = [name for name, own in said.items() if needs.get(name, ("candidate",)) != own]
    return sorted([*other, *(needs.keys() - said.keys())])


def test_the_table_of_needs_is_what_the_rules_say() -> None:
    assert unlike(RULES, NEEDS) == []


def test_a_table_of_needs_that_is_wrong_is_seen() -> None:
    wrong = {**NEEDS, "key_missing": ("proofs",), "no_such_rule": ("pair",)}
    assert unlike(RULES, wrong) == ["key_missing", "no_such_rule"]
