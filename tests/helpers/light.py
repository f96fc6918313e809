"""Which test modules can run in an environment without torch, numpy and the like.

A module is left out where it imports, at its top, a package that is not installed: itself, or
through a module of this repository. In the full environment nothing is.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = ("tests", "fixtures", "interop", "benchmarks")


def full() -> bool:
    return installed("torch")


@cache
def installed(package: str) -> bool:
    return find_spec(package) is not None


def missing(path: Path) -> set[str]:
    """The packages that importing the file asks for and that are not installed."""
    return set() if full() else set(_missing(path, set()))


def _missing(path: Path, seen: set[Path]) -> Iterator[str]:
    if path in seen:
        return
    seen.add(path)
    for name in _imported(path):
        top = name.partition(".")[0]
        if top not in OURS:
            if not installed(top):
                yield top
            continue
        for file in _files(name):
            yield from _missing(file, seen)


@cache
def _imported(path: Path) -> tuple[str, ...]:
    return tuple(_names(path))


def _names(path: Path) -> Iterator[str]:
    """Names of modules that are imported when the file is, with what is taken from them."""
    for node in _statements(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                package = path.parent.relative_to(ROOT).parts
                module = ".".join((*package[: len(package) - node.level + 1], *module.split(".")))
            yield from (f"{module.strip('.')}.{a.name}" for a in node.names)


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All that runs at import; what a `try` guards or type checkers alone read does not count."""
    for node in body:
        if isinstance(node, ast.If):
            if "TYPE_CHECKING" not in ast.unparse(node.test):
                yield from _statements(node.body)
        elif isinstance(node, ast.With):
            yield from _statements(node.body)
        else:
            yield node


def _files(name: str) -> Iterator[Path]:
    """The files of `a.b.c` that an import of it runs: those of its packages, and its own."""
    place = ROOT
    for part in name.split("."):
        place = place / part
        if (package := place / "__init__.py").is_file():
            yield package
        elif (module := place.with_suffix(".py")).is_file():
            yield module
            return
