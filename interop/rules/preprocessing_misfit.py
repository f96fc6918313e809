"""The preprocessing does not give what the weights take.

What
    The stated colour has another number of channels than the first convolution takes, the stated
    size is not the one that the position embedding was made for, or what is stated is of texts or
    sounds where the model takes pictures, or the other way round.

Why
    Nothing in names and shapes of two files that agree shows it; the first request does.

Example
    RGB gives 3 channels, conv1.weight takes 1

Fix
    State the preprocessing that the model was trained with.
"""

from __future__ import annotations

from collections.abc import Iterator

from interop.facts import AnyPreprocessing, Case, Finding, Identity, Intent, Level, Rule, TensorSpec
from interop.patterns import lazy
from interop.rules import finding

RULE = Rule("preprocessing-misfit", Level.ERROR, (Intent.REPLACE,))
_WORDS = lazy(r"(^|[._])(word_embeddings?|embed_tokens|wte|shared|token_embeddings?)[.]weight$")
_SAID = {"image": "images", "text": "text", "audio": "audio"}


def check(case: Case) -> Iterator[Finding]:
    if case.b is None or case.b.preprocessing is None:
        return
    yield from _of_another_kind(case.b, case.b.preprocessing)
    if case.b.image_preprocessing is None:
        return
    how, path = case.b.image_preprocessing, case.b.manifest.path
    channels = how.channels
    if (first := _first_convolution(case.b)) is not None and first.shape[1] != channels:
        yield finding(
            RULE,
            f"{how.color} gives {channels} channels, {first.name} takes {first.shape[1]}",
            place=path,
            facts={"channels": channels, "takes": first.shape[1]},
        )
    wanted = _embedded_size(case.b)
    if wanted is not None and how.size is not None and how.size != wanted:
        yield finding(
            RULE,
            f"pictures of {how.size[0]}x{how.size[1]}, the position embedding takes "
            f"{wanted[0]}x{wanted[1]}",
            place=path,
            facts={"size": list(how.size), "takes": list(wanted)},
        )


def _of_another_kind(identity: Identity, how: AnyPreprocessing) -> Iterator[Finding]:
    taken = -2 if identity.manifest.channels_last else 1
    colours = (t for t in identity.tensors if len(t.shape) == 4 and t.shape[taken] == 3)
    first = _first_convolution(identity) or next(colours, None)
    words = next((t.name for t in identity.tensors if _WORDS.search(t.name)), None)
    stated = how.kind
    if first is not None and words is None and stated != "image":
        takes = f"{first.name} takes images"
    elif words is not None and stated != "text" and not _takes_signals(identity):
        takes = f"{words} takes text tokens"
    else:
        return
    what = f"the preprocessing is for {_SAID[stated]}, but {takes}"
    yield finding(RULE, what, place=identity.manifest.path, facts={"kind": stated})


def _takes_signals(identity: Identity) -> bool:
    """Whether a model of words has convolutions too, as those of speech and pictures have."""
    return any(len(t.shape) in (3, 4) and t.shape[-1] > 1 and t.name.endswith("weight")
               for t in identity.tensors)  # fmt: skip


def _first_convolution(identity: Identity) -> TensorSpec | None:
    """The first weight in definition order, where it is a convolution over a picture."""
    state = next((s for s in identity.manifest.state_dicts if s.place == identity.place), None)
    weights = [t for t in identity.tensors if len(t.shape) >= 2]
    if state is None or not state.ordered or not weights or len(weights[0].shape) != 4:
        return None
    # Grouped and later convolutions take other numbers; a picture has few channels.
    return weights[0] if weights[0].shape[1] <= 4 else None


def _embedded_size(identity: Identity) -> tuple[int, int] | None:
    """The input size of a vision transformer, from its patches and its position embedding."""
    shapes = {t.name: t.shape for t in identity.tensors}
    embedding, patch = shapes.get("encoder.pos_embedding"), shapes.get("conv_proj.weight")
    if embedding is None or patch is None or len(embedding) != 3 or len(patch) != 4:
        return None
    side = round((embedding[1] - 1) ** 0.5)
    if side * side != embedding[1] - 1:
        return None
    return side * patch[2], side * patch[3]
