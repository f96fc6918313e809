"""Regular expressions that are compiled when they are first used.

A pattern's text -> what `re.compile` makes of it. A command loads some hundred patterns and uses a
few, and Python compiles each from its text.
"""

from __future__ import annotations

import re
from typing import Any, AnyStr, cast


class _Lazy:
    """A pattern: what is asked of it is asked of the compiled one, and kept."""

    def __init__(self, text: Any, flags: int) -> None:
        self._given = text, flags

    def __getattr__(self, name: str) -> Any:
        found = getattr(re.compile(*self._given), name)
        setattr(self, name, found)
        return found


def lazy(text: AnyStr, flags: int = 0) -> re.Pattern[AnyStr]:
    """`re.compile`, at the first use."""
    return cast("re.Pattern[AnyStr]", _Lazy(text, flags))
