"""The file holds more than one set of weights.

What
    Two or more mappings of names to tensors lie in the file: raw and averaged (EMA) weights, a
    generator and a discriminator, a teacher and a student.

Why
    Which one was evaluated and which one is served is a choice that has to be the same. interop
    never makes it silently.

Example
    train.pth holds state_dict and state_dict_ema.

Fix
    Name the one that you mean: `train.pth#state_dict_ema`.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import Case, Finding, Level, Rule
from interop.rules import finding, listed

RULE = Rule("several-state-dicts", Level.NOTE, ())


def check(case: Case) -> Iterator[Finding]:
    for identity in (case.a, case.b):
        if identity is not None and len(identity.manifest.state_dicts) > 1:
            places = [s.place for s in identity.manifest.state_dicts]
            yield finding(
                RULE,
                listed([p or "(top level)" for p in places], 6),
                place=identity.manifest.path,
                hint="" if case.a is not None else "FILE#PLACE chooses",
                facts={"places": places, "chosen": identity.place},
            )
