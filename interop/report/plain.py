"""Text that a model file's author may have chosen -> text that cannot steer what shows it.

A label or key can hold the bytes by which a terminal is told to clear itself, to retitle its window
or to write from right to left. They are shown as what they are.
"""

from __future__ import annotations

import re

# Control characters but the line's end and tab, their 8-bit forms, the marks that turn the
# direction of writing, and halves of surrogate pairs (bytes of a file's name that are no UTF-8),
# which no encoding takes.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def plain(text: str) -> str:
    """The text with each control character as its escape: ESC becomes the four letters \\x1b."""
    return _STEERING.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")
