"""The bytes are those of no model file that interop reads.

What
    The file's content, whatever its name says, is no checkpoint, safetensors file or ONNX graph:
    it is empty, text, a picture, a web page, a Git LFS pointer, an archive of something else.

Why
    A download that failed, or a large-file pointer that was never fetched, keeps the name of the
    model. The server that gets it fails when it starts, or keeps the old model without a word.

Example
    prod.pth holds "version https://git-lfs.github.com/spec/v1": 130 bytes of pointer.

Fix
    Fetch the real file (`git lfs pull`), or export the model again.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules._shared import unreadable

RULE = Rule("file-unrecognised", Level.ERROR, tuple(Intent), needs=("unreadable",))


def check(case: Case) -> Iterator[Finding]:
    yield from unreadable(RULE, case)
