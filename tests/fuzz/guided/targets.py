"""The table of targets, by name."""

from __future__ import annotations

from importlib.util import find_spec

from tests.fuzz.guided import checks, gates, oracles, programs, readers
from tests.fuzz.guided.target import Target

TARGETS: dict[str, Target] = {
    target.name: target
    for module in (readers, programs, oracles, checks, gates)
    for target in module.targets()
}


def possible(target: Target) -> bool:
    """Whether the packages that a target needs are installed."""
    return all(find_spec(package) is not None for package in target.needs)
