"""A part of the model is not in the folder.

What
    B's folder has no tokenizer, module, processor or code that A's has; or a folder's own files
    name something that is not there (modules.json a module, config.json a Python file). A part that
    only B has is reported as unknown.

Why
    The weights alone load and the checks of names and shapes hold. The service then fails at its
    first request, or runs without the part and answers something else.

Example
    tokenizer.json: B has no tokenizer

Fix
    Copy the part from A, or save B with the library's save_pretrained, which writes all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import (
    Answer,
    Case,
    Finding,
    Identity,
    Intent,
    Level,
    PartChange,
    PartKind,
    Rule,
    Side,
)
from interop.rules import finding, listed

RULE = Rule("part-missing", Level.ERROR, (Intent.REPLACE,))

# Without these the model that was served cannot be served.
_NEEDED = (PartKind.TOKENIZER, PartKind.MODULE, PartKind.ADAPTER, PartKind.CHAT_TEMPLATE,
           PartKind.CODE)  # fmt: skip
# What other rules judge.
_IGNORED = (PartKind.RECEIPT, PartKind.LABELS)


def check(case: Case) -> Iterator[Finding]:
    for identity in (case.a, case.b):
        yield from _named(identity)
    if case.parts is None or case.a is None or case.b is None:
        return
    folders = (case.a.manifest, case.b.manifest)
    alike = all(m.is_folder for m in folders)
    bundles = all(any(p.kind is PartKind.RECEIPT for p in m.parts) for m in folders)
    judged: dict[tuple[PartKind, Side, Answer], list[PartChange]] = {}
    for change in case.parts.changes:
        alone = not change.field and change.side is not Side.BOTH
        if not alone or change.kind in _IGNORED:
            continue
        if change.kind is PartKind.COPY and (not bundles or change.side is Side.B):
            continue  # another format of the same model: a conversion is no loss
        # A single file has no parts: what it is served with lies elsewhere.
        if not alike and change.kind not in _NEEDED:
            continue
        if change.kind is PartKind.PROCESSOR and None not in (
            case.a.preprocessing, case.b.preprocessing,
        ):  # fmt: skip
            continue
        sure = (
            change.side is Side.A
            and change.kind in (*_NEEDED, PartKind.COPY)
            and alike
            and not _within(change)
        )
        answer = Answer.NO if sure else Answer.UNKNOWN
        judged.setdefault((change.kind, change.side, answer), []).append(change)
    for (kind, side, answer), changes in judged.items():
        paths = [c.path for c in changes]
        lacks = "B" if side is Side.A else "A"
        yield finding(
            RULE,
            f"{listed(paths)}: {_lacks(case, lacks, kind)}",
            place=paths[0],
            facts={"paths": paths, "kind": str(kind), "only": str(side)},
            answer=answer,
        )


def _within(change: PartChange) -> bool:
    """A tokenizer's further file, whose content the others may hold."""
    return change.kind is PartKind.TOKENIZER and bool(change.why)


def _lacks(case: Case, side: str, kind: PartKind) -> str:
    identity = case.a if side == "A" else case.b
    if identity is not None and not identity.manifest.is_folder:
        return f"{side} is a single file and does not say which {kind} it is served with"
    return f"{side} has no such file" + (f" ({kind})" if kind is not PartKind.UNKNOWN else "")


def _named(identity: Identity | None) -> Iterator[Finding]:
    """What a folder's own files name and it does not hold."""
    if identity is not None and (absent := identity.manifest.absent):
        facts = {"absent": list(absent), "files": [identity.manifest.path]}
        yield finding(RULE, listed(absent), place=absent[0].partition(":")[0], facts=facts)
