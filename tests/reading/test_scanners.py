"""Our account of dangerous names against that of picklescan and modelscan: nothing that one of them
flags passes as safe here, neither in the hostile corpus nor in their own tables."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fixtures.hostile import FOLDER, HOSTILE, UNSAFE
from interop.errors import ReadError
from interop.reading import read
from interop.reading.pickle.imports import REFUSED, SAFE, Ledger, modern

# Theirs are whole packages; these two classes in one hold a number and nothing else.
HARMLESS = {("uuid", "UUID"), ("uuid", "SafeUUID")}
# What is refused outright cannot pass as safe, and they take ten seconds for one of those.
FILES = [
    FOLDER / one.name for one in HOSTILE if one.rule == UNSAFE and isinstance(one.content, bytes)
]
FILES += [path for path in sorted((FOLDER.parent / "benign").rglob("*")) if path.is_file()]


def _names(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each name of a table {module: "*", a name or names}; "*" as any name at all."""
    for module, names in table.items():
        for name in [names] if isinstance(names, str) else names:
            yield module, "anything" if name == "*" else name


def _tables() -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    scanner = pytest.importorskip("picklescan.scanner")
    found += _names(scanner._unsafe_globals)
    settings = pytest.importorskip("modelscan.settings").DEFAULT_SETTINGS
    for table in settings["unsafe_globals"].values():
        found += _names(table)
    return found


def test_every_name_in_their_tables_is_unsafe_here() -> None:
    names = _tables()
    assert len(names) > 100
    for module, name in names:
        for use in ("refer", "call"):
            ledger = Ledger()
            getattr(ledger, use)(module, name)
            assert ledger.unsafe, (use, module, name)


def test_no_name_that_is_harmless_here_is_dangerous_to_them() -> None:
    """But for those of whole packages that they deny, of which we know better."""
    scanner = pytest.importorskip("picklescan.scanner")
    settings = pytest.importorskip("modelscan.settings").DEFAULT_SETTINGS
    tables = [scanner._unsafe_globals, *settings["unsafe_globals"].values()]
    denied = {
        (module, name)
        for module, name in SAFE | REFUSED
        for table in tables
        if (names := table.get(module)) and (names == "*" or name == names or name in set(names))
    }
    assert denied == HARMLESS


def _flagged(path: Path) -> set[tuple[str, str]]:
    """The names that picklescan finds dangerous in a file, as Python 3 has them."""
    scanner = pytest.importorskip("picklescan.scanner")
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)
    results = []
    # Some of the corpus, and what is no pickle at all, makes the scanner itself stumble.
    with contextlib.suppress(Exception), path.open("rb") as file:
        results.append(scanner.scan_pickle_bytes(file, path.name))
    with contextlib.suppress(Exception):
        results.append(scanner.scan_file_path(str(path)))
    return {
        modern(one.module.strip(), one.name.strip())
        for result in results
        for one in result.globals
        if one.safety is scanner.SafetyLevel.Dangerous
    }


def _here(path: Path) -> set[tuple[str, str]] | None:
    """The names that are unsafe here; None for a file that is refused."""
    try:
        found = read(path).imports
    except ReadError:
        return None
    return {modern(i.module.strip(), i.name) for i in found if i.danger == "unsafe"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_picklescan_flags_in_the_corpora_is_unsafe_or_refused_here(path: Path) -> None:
    here, theirs = _here(path), _flagged(path)
    if here is not None and theirs:
        assert here
        # A name that the file computes is "unknown" to them.
        assert {(module, n) for module, n in theirs if module != "unknown"} <= here


def test_what_modelscan_flags_in_the_corpora_is_unsafe_or_refused_here() -> None:
    modelscan = pytest.importorskip("modelscan.modelscan")
    logging.getLogger("modelscan").setLevel(logging.CRITICAL)
    flagged = 0
    for path in FILES:
        issues = modelscan.ModelScan().scan(path)["issues"]
        flagged += bool(issues)
        here = _here(path)
        assert here is None or here or not issues, path
    assert flagged > 30


def test_picklescan_flags_much_of_the_corpus_itself() -> None:
    """Or the comparison above would compare nothing."""
    assert sum(bool(_flagged(path)) for path in FILES) > 80
