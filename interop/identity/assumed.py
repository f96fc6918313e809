"""An identity that fits several architectures -> the one that is assumed, in the open.

Only two differences are assumed away, since the plain member is what people train: anti-aliasing,
and torchvision's quantized_ names. Everything else (padding, activation, window, input size) is
asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interop.errors import Unsettled
from interop.facts import Architecture, Assumption, Identity
from interop.patterns import lazy
from interop.records import replace

ARCHITECTURE = "architecture"
_ANTI_ALIASED = lazy(r"_?(aa|blur)(?=\d|_)")
STATES = " states"  # ends the evidence of an architecture that another file states
_QUANTIZED = "torchvision/quantized_"


def plain(architectures: Sequence[Architecture], apart: str) -> Architecture | None:
    """Return the one member that all others are a variant of; None if that is not decided.

    `apart` says in what the architectures differ (`Identity.ambiguity`).
    """
    names = {n for a in architectures for n in (a.name, *a.also)}
    left = [a for a in architectures if _sibling(a.name, apart) not in names]
    return left[0] if len(left) == 1 < len(architectures) else None


def _sibling(name: str, apart: str) -> str:
    """The plain name of a variant, "" if the name is not one of a variant that may be dropped."""
    if name.startswith(_QUANTIZED):
        return f"torchvision/{name.removeprefix(_QUANTIZED)}"
    if apart != "anti-aliasing":
        return ""
    bare = _ANTI_ALIASED.sub("", name)
    return bare if bare != name else ""


def assumption(identity: Identity, beside: Identity | None = None) -> Assumption | None:
    """Return what would be assumed of the architecture if a module were built.

    If `beside`, the model that this one is compared with, states its member of the class, that one
    is assumed; else the plain one.
    """
    one = plain(identity.architectures, identity.ambiguity)
    if one is None:
        return None
    why = ""
    if beside is not None and (stated := _stated_by(beside, identity)) is not None:
        one, why = stated, f"as {beside.manifest.path} states"
    others = tuple(a.name for a in identity.architectures if a is not one)
    where = identity.manifest.path
    return Assumption(ARCHITECTURE, one.name, others, identity.ambiguity, why, where)


def settled(
    identity: Identity, *, strict: bool = False, beside: Identity | None = None
) -> Identity:
    """Return the identity with the assumed architecture alone, and the assumption noted.

    An identity that leaves no choice, or one that is asked for, comes back as it is. Raises
    Unsettled if `strict`.
    """
    made = assumption(identity, beside)
    if made is None:
        return identity
    if strict:
        raise Unsettled(
            f"{made.sentence('would be')}, which --strict does not allow",
            where=identity.manifest.path,
            fix=f"name the architecture with --arch ({made.value}, {', '.join(made.others)})",
            rule="architecture-assumed",
        )
    (one,) = (a for a in identity.architectures if a.name == made.value)
    one = replace(one, evidence=f"assumed: {one.evidence}")
    return replace(
        identity, architectures=(one,), ambiguity="", assumptions=(*identity.assumptions, made)
    )


def first(architectures: Sequence[Architecture], apart: str) -> tuple[Architecture, ...]:
    """Return the architectures with the assumed one in front."""
    one = plain(architectures, apart)
    return tuple(sorted(architectures, key=lambda a: a is not one))


def as_beside(identity: Identity, other: Identity) -> Identity:
    """Return the identity with the member of its class in front that another file states.

    Nothing is decided by it: the two files may be of different members.
    """
    if (stated := _stated_by(other, identity)) is None:
        return identity
    marked = replace(stated, evidence=f"{Path(other.manifest.path).name}{STATES}")
    rest = (a for a in identity.architectures if a is not stated)
    return replace(identity, architectures=(marked, *rest))


def _stated_by(other: Identity, identity: Identity) -> Architecture | None:
    """The one of several architectures that another file of the same class states."""
    if other.architecture is None or other.assumptions or len(identity.architectures) < 2:
        return None
    return next((a for a in identity.architectures if a.name == other.architecture), None)
