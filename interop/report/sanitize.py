"""Text that a model file's author may have chosen -> text that cannot steer what shows it.

A name, a label or a message can hold what tells a terminal to clear itself or to write from right
to left, what nobody sees, a line break, or a command to the CI server that reads the log. All of it
is shown as its escape. JSON alone keeps each text as it is, and escapes it in its own way.
"""

from __future__ import annotations

import re

from interop.patterns import lazy

MOST_WORD, MOST_TEXT = 400, 100_000  # characters

# In the order of the brackets below: control characters but a line's end and tab, all that Unicode
# says to show as nothing, marks of formatting, and halves of surrogate pairs (bytes of a file's
# name that are no UTF-8), which no encoding takes. Then what begins a command: GitHub's runner
# takes "##[" and Azure's "##vso[" anywhere in a line, and "::" behind blanks at its start.
_STEERING = lazy(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufe00-\ufe0f\ufeff\uffa0\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\ufff0-\ufffb\ufffe\uffff\U000110bd\U000110cd"
    "\U00013430-\U0001343f"
    "\ud800-\udfff]"
    r"|#(?=#(?:\[|vso\[))"
    r"|^[^\S\n]*:(?=:)",
    re.MULTILINE | re.IGNORECASE,
)
_LONG = lazy(rf"\S{{{MOST_WORD + 1},}}")
_ENDS = {0x0A: "\\n", 0x09: "\\t"}


def plain(text: str) -> str:
    """The text with each character that steers as its escape: ESC becomes the four letters \\x1b.
    Its lines stay lines."""
    return _STEERING.sub(_escape, text)


def one_name(text: str) -> str:
    """The same of a name, or of a sentence that holds names, as one line: a file may be called
    anything, and stays in its row."""
    return plain(text.translate(_ENDS))


def brief(text: str, most: int = MOST_TEXT) -> str:
    """The same, cut with … where a word of it, or all of it, is longer than anybody reads."""
    line = one_name(text if len(text) <= most else text[:most] + "…")
    return _LONG.sub(lambda m: f"{m[0][: MOST_WORD // 2]}…{m[0][1 - MOST_WORD // 2 :]}", line)


def in_json(text: str) -> str:
    """JSON text with JSON's escapes for what steers; a reader of it gets the same values."""
    return _STEERING.sub(_escape_in_json, text)


def _escape(match: re.Match[str]) -> str:
    blanks, last = match[0][:-1], match[0][-1]
    code = f"\\x{ord(last):02x}" if last in "#:" else last.encode("unicode_escape").decode("ascii")
    return blanks + code


def _escape_in_json(match: re.Match[str]) -> str:
    units = match.group().encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
