"""The file does not name its classes.

What
    Neither the file nor a flag gives the labels in the order of the outputs.

Why
    Ten outputs are not the same ten outputs: without names nobody can say that an index still means
    what it meant.

Example
    prod.pth is a plain state dict.

Fix
    Give them with `--labels`, or save them with the weights under "labels".
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, HeadRole, Identity, Intent, Level, PartKind, Rule
from interop.rules._shared import sides, unstated

RULE = Rule("labels-unknown", Level.NOTE, (Intent.REPLACE,), answer=Answer.UNKNOWN)


def check(case: Case) -> Iterator[Finding]:
    silent = [i for i in sides(case) if not i.labels.known and not _named_elsewhere(i)]
    yield from unstated(
        RULE, silent, "the labels are not known", "--labels", lambda i: i.labels.source
    )


def _named_elsewhere(identity: Identity) -> bool:
    """Whether the outputs are tokens, which the tokenizer beside them names, or embeddings, which
    have no names."""
    role = identity.head.role if identity.head is not None else HeadRole.UNKNOWN
    tokens = any(p.kind is PartKind.TOKENIZER for p in identity.manifest.parts)
    writes = role in (HeadRole.VOCABULARY, HeadRole.CHARACTERS)
    return (writes and tokens) or identity.manifest.pools
