"""Loading or running the model would read a file or an address that the model names.

What
    A value in the model is the path or address of something outside it: the vocabulary of a Keras
    layer, the weights or the module that a layer fetches, the table or constant of a TensorFlow
    graph. Whoever loads or runs the model reads that.

Why
    The model's author chooses the file. Its lines become part of the model, and leave the machine
    with its answers or with the next copy that is saved. An address is fetched. Older
    versions of Keras do so in safe mode too (CVE-2025-12058).

Example
    Loading candidate.keras would read '/etc/passwd' (vocabulary of the StringLookup layer 'ids').

Fix
    Do not load the file. Ask for a model that holds the vocabulary and the weights itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Intent, Level, Rule
from interop.rules import finding, listed
from interop.rules._shared import sides

RULE = Rule("model-reads-file", Level.ERROR, tuple(Intent))


def check(case: Case) -> Iterator[Finding]:
    for manifest in (identity.manifest for identity in sides(case)):
        if manifest.opened:
            opened = [str(one) for one in manifest.opened]
            name = manifest.path.rpartition("/")[2]
            yield finding(
                RULE,
                f"loading or running {name} would read {listed(opened)}",
                place=manifest.path,
                hint="do not load it; ask its author for a model that holds these values itself",
                facts={"opened": opened},
            )
