"""The weights remember inputs of another range than the one stated, or than the other file's.

What
    The first convolution's BatchNorm keeps the mean and variance of what passed through it in
    training, from which the scale of the input follows. One file was trained on 0 to 255 and its
    stated preprocessing gives another range, or the other way round; or one file of the pair was
    trained on 0 to 255 and the other was not.

Why
    A model that is fed 0 to 1 instead of 0 to 255 still answers, and nearly every answer is wrong.
    It is not proof: a frozen backbone remembers its pretraining, and a model may rescale its input
    itself.

Example
    prod.pth remembers inputs of scale 66 (0 to 255), new.pth of 1.1 (not 0 to 255)

Fix
    Check how the training code prepared its images and state that with `--preprocess`. If a frozen
    backbone explains the difference, waive the finding with that reason.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import RANGES, Answer, Case, Finding, Identity, Intent, Level, Rule
from interop.rules import finding
from interop.rules._shared import sides

RULE = Rule(
    "preprocessing-contradicts-statistics", Level.WARN, (Intent.REPLACE,), answer=Answer.UNKNOWN
)


def check(case: Case) -> Iterator[Finding]:
    ranges = [(i, i.imprint.wide) for i in sides(case) if i.imprint is not None]
    contradicting = [i for i, wide in ranges if wide is not None and _stated(i) is (not wide)]
    apart = {wide for _, wide in ranges} >= {True, False}
    # Two files that each state what they remember differ in the open: preprocessing-changed.
    if apart and (contradicting or any(_stated(i) is None for i, _ in ranges)):
        yield _pair(*(i for i, _ in ranges))
        return
    for identity in contradicting[:1]:
        seen, how = identity.imprint, identity.image_preprocessing
        assert seen is not None and how is not None
        scale = how.photo_scale
        yield finding(
            RULE,
            f"{_name(identity)} remembers inputs of scale {seen.figure}; its stated preprocessing "
            f"gives photos a scale of {scale:.2g} ({RANGES[bool(how.is_wide)]})",
            place=identity.manifest.path,
            facts={
                "files": [i.manifest.path for i in contradicting],
                "remembered": seen.scale,
                "stated": scale,
            },
        )


def _pair(a: Identity, b: Identity) -> Finding:
    assert a.imprint is not None and b.imprint is not None
    return finding(
        RULE,
        f"{_name(a)} remembers inputs of scale {a.imprint.figure}, "
        f"{_name(b)} of {b.imprint.figure}",
        facts={
            "files": [i.manifest.path for i in (a, b)],
            "remembered": [a.imprint.scale, b.imprint.scale],
        },
    )


def _stated(identity: Identity) -> bool | None:
    """Whether the stated preprocessing leaves inputs at 0 to 255; None if unclear or unstated."""
    how = identity.image_preprocessing
    return None if how is None else how.is_wide


def _name(identity: Identity) -> str:
    return identity.manifest.path.rpartition("/")[2]
