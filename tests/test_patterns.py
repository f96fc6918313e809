"""A lazy pattern does what the compiled one does, and is compiled at its first use."""

from __future__ import annotations

import re

import pytest

from interop.patterns import lazy


def test_it_is_as_the_compiled_one() -> None:
    pattern = lazy(r"(a+)b", re.IGNORECASE)
    assert pattern.sub("-", "xAAby") == "x-y"
    assert (found := pattern.search("aab")) is not None and found[1] == "aa"
    assert (pattern.pattern, pattern.groups) == (r"(a+)b", 1)
    assert lazy(rb"\x80.").match(b"\x80\x02") is not None


def test_it_is_compiled_at_the_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    pattern = lazy("x")
    seen: list[str] = []
    compile_now = re.compile
    monkeypatch.setattr(
        re, "compile", lambda *given: (seen.append(given[0]), compile_now(*given))[1]
    )
    assert seen == []
    assert pattern.match("x") and pattern.match("x")
    assert seen == ["x"]


def test_one_that_is_none_says_so_then() -> None:
    with pytest.raises(re.error):
        lazy("(").match("")
