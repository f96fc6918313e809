"""B holds A's backbone under other names, or in another layout.

What
    Each weight of A's backbone can be made of B's, and none of B's is left over: names differ by a
    prefix or a known rename, or layers pair by their structure (shapes, roles, definition order).
    Or the whole backbone of one is in the other under a prefix ("backbone.body."), and other layers
    are beside it.

Why
    Weights of one architecture from two libraries can be carried across. A map by structure alone
    is a guess, if a good one: two layers of one shape may be exchanged, an epsilon or an activation
    may differ. Until both models have answered the same on the same input, it is unproved. Under a
    prefix the names and shapes are the same, and nothing is guessed; but two such places in one
    file (a student and a teacher) are two sets of weights, and which one is meant is not known.

Example
    all 150 backbone tensors pair by structure; unproved: interop port b.pth --like a.pth --prove

Fix
    `interop port B --like A --prove -o OUT` proves the map and writes B's weights under A's names.
    If it is a prefix, take it off, or put it on, before loading: the finding's hint is the code.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from interop.facts import Answer, Case, Finding, Intent, Level, Rule, Side
from interop.rules import finding, listed
from interop.rules._shared import beside, command, mostly, under_prefix

RULE = Rule("key-renamed", Level.NOTE, (Intent.TRANSFER,), needs=("pair",), answer=Answer.UNKNOWN)


def check(case: Case) -> Iterator[Finding]:
    assert case.a is not None and case.pairing is not None
    mapped, basis = case.pairing.mapped, case.pairing.basis
    if not mapped:
        yield from _within(case)
        return
    backbone = case.a.tensors if case.a.backbone is None else case.a.backbone
    whole = sum(not t.is_counter for t in backbone)
    steps = Counter(m.step for m in mapped)
    what = f"all {whole} backbone tensors pair by {' and '.join(steps)}"
    yield finding(
        RULE,
        f"{what}; {basis}" if basis else f"{what}; unproved: {command(case, '--prove')}",
        facts={"tensors": whole, "steps": dict(steps), "basis": basis},
        breaks=() if basis else RULE.breaks,
    )


def _within(case: Case) -> Iterator[Finding]:
    """The backbone of one is in the other: at one place, or nobody knows at which."""
    assert case.a is not None and case.b is not None and case.pairing is not None
    places = case.pairing.within
    if not places:
        return
    place = places[0]
    bare, larger = ("A", "B") if place.side is Side.B else ("B", "A")
    prefixes = [p.prefix for p in places]
    hint = under_prefix(case)
    if len(places) > 1:
        yield finding(
            RULE,
            f"{bare}'s whole backbone is in {larger} at {len(places)} places, under "
            f"{listed([repr(p) for p in prefixes], 6)}; which one is meant is not known",
            hint=hint,
            facts={"prefixes": prefixes},
        )
        return
    what = f"{bare}'s whole backbone is in {larger} under {place.prefix!r}"
    if place.beside:
        names = [t.name for t in place.beside]
        prefix = place.prefix.removeprefix((case.b if larger == "B" else case.a).prefix)
        what += f"; beside it {larger} has {beside(names, prefix)} ({len(names)} tensors)"
    small = place.side is Side.A and case.a.backbone is None and not mostly(case.a, place)
    if small:
        what += "; that is less than half of A's bytes, and A's head is not known"
    yield finding(
        RULE,
        what,
        hint=hint,
        facts={"prefix": place.prefix, "tensors": len(place.pairs), "beside": len(place.beside)},
        breaks=RULE.breaks if small else (),
    )
