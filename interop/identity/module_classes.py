"""The classes in a pickled module's tree -> which of several architectures of one weights they are.

A state dict does not say what is computed with its weights; the classes of a whole module do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from interop.facts import Architecture, ModuleSpec
from interop.identity.index.match import Match
from interop.records import replace

LIBRARIES = ("torchvision", "timm", "transformers", "torchaudio")
_QUANTIZABLE = "torchvision.models.quantization."
# A class, and whether the name of an architecture is of those that have it.
_TELLING: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("BlurPool2d", lambda name: "blur" in name or "_aa_" in name),
    ("Conv2dSame", lambda name: name.startswith("tf_") or name.endswith("_jx")),
    ("QuickGELU", lambda name: "quickgelu" in name),
)


def top(tree: Sequence[ModuleSpec]) -> ModuleSpec | None:
    """The outermost module of a listed library, whatever was put around it."""
    return next((m for m in tree if m.type.partition(".")[0] in LIBRARIES), None)


def narrowed(match: Match, tree: Sequence[ModuleSpec]) -> Match:
    """The match with those architectures alone that have the classes of the tree.

    If no architecture has them, the classes are somebody's own use of a library's layers, and the
    match stays as it is.
    """
    if (own := top(tree)) is None:
        return match
    classes = {m.type.rpartition(".")[2] for m in tree}
    fitting = [kept for a in match.architectures if (kept := _as_classes_say(a, own.type))]
    if not fitting:
        return match
    left = [c for c in fitting if _tells(c.name, classes)] if len(fitting) > 1 else fitting
    chosen = left or fitting
    apart = match.apart if len(chosen) > 1 else ""
    return replace(match, architectures=tuple(chosen), apart=apart)


def _as_classes_say(architecture: Architecture, kind: str) -> Architecture | None:
    """The architecture under the name that is of the class's library; None if it has none."""
    names = (architecture.name, *architecture.also)
    fit = [name for name in names if _is_of(name, kind)]
    if not fit:
        return None
    others = tuple(name for name in names if name != fit[0])
    return replace(architecture, name=fit[0], also=others, evidence=f"the class {kind}")


def _is_of(name: str, kind: str) -> bool:
    library, _, own = name.partition("/")
    if library != kind.partition(".")[0]:
        return False
    if library == "torchvision":
        return own.startswith("quantized_") == kind.startswith(_QUANTIZABLE)
    return library != "transformers" or own == kind.rpartition(".")[2]


def _tells(name: str, classes: set[str]) -> bool:
    own = name.partition("/")[2]
    return all((word in classes) == has(own) for word, has in _TELLING)
