"""pytest's `interop` fixture and marker: a team's own tests say which model may replace which.

    def test_the_candidate_can_be_served(interop):
        interop.assert_replaceable("models/prod.pth", "models/candidate.pth")

    @pytest.mark.interop(labels=["cat", "dog"])     # facts that the files do not state
    def test_the_retrain_loads(interop):
        interop.assert_reloadable("models/prod.pth", "models/candidate.pth")

Paths are relative to the folder of pytest's configuration. An unknown verdict fails as a *no* does:
what is not known is never called the same. `-m interop` runs these tests alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from interop.facts import Report

# What the marker may say: facts for files that do not state their own, and rules' levels.
FACTS = ("arch", "labels", "preprocess", "levels", "values")


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks of two model files, with the facts of the test's marker. Nothing in a file is run."""

    root: Path
    facts: Mapping[str, Any] = field(default_factory=dict)

    def check(self, a: str | Path, b: str | Path, intent: str = "replace") -> Report:
        """`interop.check.check` of the two files. Raises interop.errors.ReadError."""
        from interop.check import CheckOptions, check
        from interop.facts import Intent, Labels, Level
        from interop.identity.metadata import parse_preprocessing

        labels, preprocess = self.facts.get("labels"), self.facts.get("preprocess")
        return check(
            self._place(a),
            self._place(b),
            CheckOptions(
                intent=Intent(intent),
                values=bool(self.facts.get("values", True)),
                arch=self.facts.get("arch"),
                labels=None if labels is None else Labels(tuple(labels), "the test's marker"),
                preprocessing=None
                if preprocess is None
                else parse_preprocessing(preprocess, "the test's marker", base=Path()),
                levels={k: Level(v) for k, v in (self.facts.get("levels") or {}).items()},
            ),
        )

    def assert_replaceable(self, a: str | Path, b: str | Path) -> None:
        """B can be served where A is served: same inputs, outputs, labels and preprocessing."""
        self._hold(a, b, "replace")

    def assert_reloadable(self, a: str | Path, b: str | Path) -> None:
        """The code that loads A loads B, unchanged."""
        self._hold(a, b, "reload")

    def assert_transferable(self, a: str | Path, b: str | Path) -> None:
        """A's architecture can start from B's weights."""
        self._hold(a, b, "transfer")

    def _hold(self, a: str | Path, b: str | Path, intent: str) -> None:
        __tracebackhide__ = True
        from interop.errors import InteropError
        from interop.facts import Answer
        from interop.report.sanitize import plain

        try:
            report = self.check(a, b, intent)
        except InteropError as error:
            pytest.fail(plain(str(error)), pytrace=False)
        if report.outcome is not Answer.YES:
            pytest.fail(_words(report, intent), pytrace=False)

    def _place(self, path: str | Path) -> str:
        given = str(path)
        return given if "://" in given else str(self.root / given)


def _words(report: Report, intent: str) -> str:
    """The verdict, and each finding that bears on it, a line each."""
    from interop.report.sanitize import one_name

    lines = [f"{intent}: {report.outcome}; {report.summary}"]
    for finding in report.findings:
        if intent in {str(b) for b in finding.breaks}:
            hint = f" (fix: {finding.hint})" if finding.hint else ""
            lines.append(f"  {finding.level} {finding.rule}: {finding.what}{hint}")
    return "\n".join(map(one_name, lines))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "interop(arch, labels, preprocess, levels, values): a test of model files; facts that they "
        "do not state themselves, and whether values are read",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever takes the fixture bears the marker, so that `-m interop` finds it."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "interop" in fixtures and item.get_closest_marker("interop") is None:
            item.add_marker("interop")


@pytest.fixture
def interop(request: pytest.FixtureRequest) -> Checker:
    """Asserts what one model file is to another; see `interop.pytest_plugin`."""
    facts: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("interop"))):
        strange = [k for k in marker.kwargs if k not in FACTS]
        if strange or marker.args:
            raise pytest.UsageError(
                f"the interop marker takes {', '.join(FACTS)} by name, not "
                f"{', '.join([*map(repr, marker.args), *strange])}"
            )
        facts |= marker.kwargs
    return Checker(request.config.rootpath, facts)
