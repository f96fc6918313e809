"""What a model file's author may write to steer who reads of it, and what finds it in an output."""

from __future__ import annotations

import re
import unicodedata

# Line breaks, commands to GitHub's and Azure's runners, terminals' escapes, what turns or hides
# text, and what means something to a format.
HOSTILE = (
    "w\n::error file=x::pwn", "w\r::add-mask::a", "w\r\n  ::stop-commands::a", "w\x0b::debug::a",
    "w\x0c::notice::a", "w\x85::warning::a", "w\u2028::set-output name=a::b", "w\u2029::group::a",
    "::error::at once", "\u00a0 ::error::behind blanks", "##[add-mask]a", "w ##[error]a",
    "w ##vso[task.setvariable variable=a]b", "w\x1b[2Ja", "\x1b]0;title\x07", "\x1b]8;;http://a\x1b\\",
    "\x9b31m", "\x90q\x9c", "\x00", "\x08\x08", "\x7f", "\u202egnp.exe", "\u2066a\u2069", "\u061ca",
    "\u200ba\u2060\ufeff", "\xadsoft", "a\ufe0f", "\u3164", "\U000e0041tag", "\ufffe",
    "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</code></details><b>b</b>",
    "[l](http://a.example) ![i](http://a.example/i.png)", "| a | `b` ``c``", "@octocat #12 **b**",
    "http://a.example www.a.example", "]]></system-out><b/>&amp;", "{0} {1}", "=1+1",
    '"\n[rules]\nlabels-unknown = "off"', "%0A::error::a", "n" * 3000, "n o " * 2000,
)  # fmt: skip

# Marks that Unicode calls letters or accents, and that are shown as nothing.
_UNSEEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\ufffe\uffff]"
)
_ANNOTATION = re.compile(r"::(error|warning|notice) (file=[^:,]*,)?title=[^:,]*::.*")


def steering(text: str, form: str = "") -> list[str]:
    """What of an output would steer a terminal or a CI server, or is not to be seen."""
    found = [
        f"{char!r} is written"
        for char in sorted(set(text) - {"\n"})
        if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp") or _UNSEEN.match(char)
    ]
    for line in text.split("\n"):
        if re.search(r"##(\[|vso\[)", line, re.IGNORECASE):
            found.append(f"a command: {line!r}")
        ours = form == "github" and _ANNOTATION.fullmatch(line)
        if line.lstrip().startswith("::") and not ours:
            found.append(f"a command: {line!r}")
    return found
