"""JSON of a file -> its values, without text that could be printed nowhere."""

from __future__ import annotations

import json

from interop.facts import Json


def loads(raw: bytes | str) -> Json:
    """Raises ValueError for what is no JSON, is nested too deeply, or spells half a letter."""
    text = raw if isinstance(raw, str) else raw.decode("utf-8-sig")
    try:
        document = json.loads(text)
        if "\\ud" in text.lower():  # one half of a letter of two, perhaps without the other
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return document
