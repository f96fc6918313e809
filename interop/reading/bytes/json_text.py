"""JSON of a file -> its values, without text that could be printed nowhere."""

from __future__ import annotations

import json

from interop.facts import Json
from interop.reading.bytes.budget import Budget

_VALUE, _VALUE_MEMORY = 1_200, 60  # nanoseconds and bytes of one, read and looked through


def loads(raw: bytes | str, budget: Budget | None = None) -> Json:
    """Raises ValueError for what is no JSON, is nested too deeply, or spells half a letter.

    `budget` pays for the values, which are counted before they are parsed.
    """
    text = raw if isinstance(raw, str) else raw.decode("utf-8-sig")
    if budget is not None:
        values = sum(map(text.count, ",[{"))
        budget.spend(values * _VALUE, values * _VALUE_MEMORY + 2 * len(text))
    try:
        document = json.loads(text)
        if "\\ud" in text.lower():  # one half of a letter of two, perhaps without the other
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return document
