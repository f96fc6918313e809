"""The house stays as it was drawn: what import-linter cannot hold of it."""

from __future__ import annotations

import ast
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "interop"
FILES = sorted(PACKAGE.rglob("*.py"))
COMMANDS = [
    p for p in (PACKAGE / "cli").glob("*.py") if p.stem not in ("__init__", "output", "options")
]
WORKFLOWS = ("export", "port", "bench", "finetune", "assess")


def private_names(source: str, module: str) -> Iterator[str]:
    """Names with a leading underscore that a module takes from another one of the package."""
    tree = ast.parse(source)
    taken: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("interop"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if alias.name.startswith("_") and not alias.name.startswith("__"):
                    yield whole
                taken[alias.asname or alias.name] = whole
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            private = node.attr.startswith("_") and not node.attr.startswith("__")
            if private and (owner := taken.get(node.value.id, module)) != module:
                yield f"{owner}.{node.attr}"


def test_no_module_takes_anothers_private_names() -> None:
    for path in FILES:
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        assert list(private_names(path.read_text("utf-8"), module)) == [], path


def test_one_that_does_is_found() -> None:
    source = "from interop.report import json\nfrom interop.facts import _x\njson._table({})\n"
    assert list(private_names(source, "interop.a")) == [
        "interop.facts._x",
        "interop.report.json._table",
    ]


@pytest.mark.parametrize("path", COMMANDS, ids=lambda p: p.stem)
def test_a_command_parses_calls_and_prints(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < 90


@pytest.mark.parametrize("room", WORKFLOWS)
def test_a_room_has_a_face_options_and_a_pipeline(room: str) -> None:
    assert len((PACKAGE / room / "__init__.py").read_text("utf-8").splitlines()) < 40
    assert {"options.py", "pipeline.py"} <= {p.name for p in (PACKAGE / room).iterdir()}


@pytest.mark.needs_torch
def test_names_in_texts_are_names_of_the_package() -> None:
    for path in FILES:
        for name in set(re.findall(r"`(interop(?:\.[A-Za-z_]\w*)+)`", path.read_text("utf-8"))):
            assert name in ("interop.toml", "interop.json") or resolves(name), f"{path}: {name}"
    assert resolves("interop.facts.Report") and not resolves("interop.facts.Nobody")


def resolves(name: str) -> bool:
    """Whether a dotted name is a module's, or of something in one."""
    try:
        return pkgutil.resolve_name(name) is not None
    except (ImportError, AttributeError):
        return False


def test_the_api_is_typed_through() -> None:
    tree = ast.parse((PACKAGE / "api.py").read_text("utf-8"))
    functions = [n for n in tree.body if isinstance(n, ast.FunctionDef)]
    assert {f.name for f in functions} >= {"bench", "export", "finetune", "gate", "port"}
    for function in functions:
        given = [a.annotation for a in (*function.args.args, *function.args.kwonlyargs)]
        for annotation in (*given, function.returns):
            assert annotation is not None, function.name
            assert "Any" not in ast.unparse(annotation).replace("AnyPre", ""), function.name
        assert function.args.kwarg is None and function.args.vararg is None
