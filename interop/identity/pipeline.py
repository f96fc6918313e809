"""Manifest -> Identity: which state dict, whose architecture, what head, labels and preprocessing.

Everything is read off names, shapes and metadata; nothing of the file is run.
"""

from __future__ import annotations

from collections.abc import Sequence
from os.path import exists
from pathlib import Path

from interop.errors import ReadError
from interop.facts import (
    AnyPreprocessing,
    Head,
    HeadRole,
    Identity,
    Labels,
    Manifest,
    StateDict,
    TensorSpec,
    family,
)
from interop.identity import assumed, metadata, module_classes, partial_models, tokenized
from interop.identity import head as heads
from interop.identity.index import lookup
from interop.identity.index.match import Match, find, is_called, is_name, nearest, resolved
from interop.identity.prefix import strip_prefix
from interop.identity.user_facts import UserFacts
from interop.records import replace


def identify(
    manifest: Manifest,
    *,
    place: str | None = None,
    arch: str | None = None,
    labels: Labels | None = None,
    preprocessing: AnyPreprocessing | None = None,
    entries: lookup.Index | None = None,
) -> Identity:
    """Say what `manifest` is of.

    `place` chooses among several state dicts. `arch` is the architecture that a person names; it
    decides only among those that the tensors allow. `labels` and `preprocessing` are what a person
    gave; they count only where the file itself is silent. `entries` stands in for the stored index.
    Raises ReadError where the file holds several state dicts and none was chosen.
    """
    entries = entries or lookup.load()
    chosen = choose_state_dict(manifest, place)
    prefix, tensors = strip_prefix(chosen.tensors)
    kind = partial_models.kind(manifest, chosen, tensors)
    if kind.startswith(partial_models.PLACEHOLDERS):
        tensors = tuple(t for t in tensors if t.shape != (0,))  # they stand for what is elsewhere
    match = find(tensors, entries, prefix) if tensors and not kind else None
    if match and chosen.tree:
        match = module_classes.narrowed(match, chosen.tree)
    stated = metadata.Stated(arch, "--arch") if arch else metadata.architecture(manifest.metadata)
    ambiguity = match.apart if match else ""
    if stated is not None:
        match, ambiguity = _hold_against(match, stated, entries)
    ordered = chosen.ordered and not heads.sorted_by_name(tensors)
    main, sides = heads.found(tensors, match, ordered)
    if match is None and manifest.graph is None and ordered and not kind:
        main = heads.by_definition_order(tensors)
    how, fault = metadata.preprocessing(manifest.metadata)
    how, fault = tokenized.held_against(how, fault, manifest)
    return Identity(
        manifest=manifest,
        place=chosen.place,
        prefix=prefix,
        tensors=tensors,
        architectures=assumed.first(match.architectures, ambiguity) if match else (),
        ambiguity=ambiguity,
        root=match.root if match else "",
        head=main,
        side_heads=sides,
        kind=kind,
        labels=_first_known(_labels(manifest, main, tensors), labels),
        preprocessing=how or tokenized.settled(preprocessing, manifest),
        preprocessing_fault="" if how or preprocessing else fault,
    )


def with_runner_up(identity: Identity, entries: lookup.Index | None = None) -> Identity:
    """The same identity with the closest architecture that is none of its own."""
    if identity.manifest.container == "onnx" or identity.kind or not identity.tensors:
        return identity
    known = [n for a in identity.architectures for n in (a.name, *a.also)]
    near = nearest(identity.tensors, entries or lookup.load(), known)
    return replace(identity, runner_up=near)


def _hold_against(
    match: Match | None, stated: metadata.Stated, entries: lookup.Index
) -> tuple[Match | None, str]:
    """What a stated name makes of a match, and what is to be said where they do not agree."""
    if match is not None:
        settled = resolved(match, stated.value, stated.source)
        if any(is_called(a, stated.value) for a in settled.architectures):
            return settled, settled.apart
        families = {family(a.name) for a in match.architectures}
        if f"transformers/{family(stated.value)}" in families:
            return match, match.apart  # the same backbone, under another head
    apart = match.apart if match else ""
    claim = f"{stated.source} says {stated.value!r}, which"
    known = [n for n in entries.by_name if is_name(stated.value, n)]
    if match is None and any(n.startswith("transformers/") for n in known):
        # A config may make of a class what no index can hold in full.
        fault = f"{claim} its tensors could not be shown to be"
    elif known:
        fault = f"{claim} its tensors do not bear out"
    elif match is not None and stated.source != "--arch":
        return match, apart  # a name of somebody's own for a known architecture contradicts nothing
    else:
        fault = f"{claim} the index does not hold"
    return match, f"{apart}; {fault}" if apart else fault


def identify_file(
    given: str | Path,
    facts: UserFacts | None = None,
    *,
    content_hash: bool = False,
    whole: bool = False,
) -> Identity:
    """Read a file, or "FILE#PLACE" for one of its state dicts, and say what it is of.

    `content_hash` and `whole` are those of `interop.reading.read`. Raises ReadError.
    """
    from interop.reading import read

    facts = facts or UserFacts()
    path, place = split_place(given)
    return identify(
        read(path, content_hash=content_hash, whole=whole),
        place=place,
        arch=facts.arch,
        labels=facts.labels,
        preprocessing=facts.stated,
    )


def split_place(given: str | Path) -> tuple[str, str | None]:
    """ "train.pth#ema" -> the file, and the place in it; a "#" in a file's own name is its own."""
    path, mark, place = str(given).rpartition("#")
    # Path.exists raises on a name that is too long for a file.
    if not mark or exists(given):  # noqa: PTH110
        return str(given), None
    return path, place


def choose_state_dict(manifest: Manifest, place: str | None) -> StateDict:
    """The state dict at `place`, or the only one; never one of several by guess."""
    places = [s.place for s in manifest.state_dicts]
    if place is not None:
        inner = [m for s in manifest.state_dicts for m in partial_models.models(s)]
        for state_dict in (*manifest.state_dicts, *inner):
            if state_dict.place == place:
                return state_dict
        for state_dict in manifest.state_dicts:
            if (part := partial_models.state_dict_at(state_dict, place)) is not None:
                return part
        fix = "its one state dict is at the top level: leave the # and the rest away"
        if known := [s.place for s in (*manifest.state_dicts, *inner) if s.place]:
            fix = f"it has: {', '.join(map(repr, dict.fromkeys(known)))}"
        raise ReadError(f"holds no state dict at {place!r}", where=manifest.path, fix=fix)
    if len(manifest.state_dicts) > 1:
        shown = ", ".join(f"{p!r}" for p in places[:6]) + (", …" if len(places) > 6 else "")
        raise ReadError(
            f"holds {len(places)} state dicts: {shown}",
            where=manifest.path,
            fix="choose one: "
            + " or ".join(f"{Path(manifest.path).name}#{place}" for place in places[:6]),
            rule="several-state-dicts",
        )
    return manifest.state_dicts[0] if manifest.state_dicts else StateDict("", ())


def places_of(manifest: Manifest) -> list[str | None]:
    """The place of each of a file's state dicts, and of each model within one of them."""
    if not manifest.state_dicts:
        return [None]
    places: list[str | None] = []
    for state_dict in manifest.state_dicts:
        inner = [m.place for m in partial_models.models(state_dict)]
        places += [state_dict.place, *inner] if len(inner) > 1 else [state_dict.place]
    return places


def with_values(identity: Identity) -> Identity:
    """The same identity with statistics on each tensor: the one step that reads the values.

    Raises ExtraMissing on the light install, which has no numpy.
    """
    from interop.reading import values_module

    stats = {id(spec): statistics for spec, statistics in values_module().values(identity.tensors)}
    tensors = tuple(replace(t, stats=stats.get(id(t))) for t in identity.tensors)
    return replace(identity, tensors=tensors, values_read=True)


def _labels(manifest: Manifest, head: Head | None, tensors: Sequence[TensorSpec]) -> Labels:
    """The labels that a file states, fastai's vocabulary counted in where it names the outputs."""
    # a sentence's vector: names in the transformer's config are of another use
    if manifest.modules:
        return Labels(None, "modules.json", applicable=False)
    own = metadata.labels(manifest.metadata)
    if head is None or head.role in (HeadRole.VOCABULARY, HeadRole.CHARACTERS):
        return own
    # As many rows in a table of the body: the outputs are words, and the vocabulary a tokenizer's.
    names = {t.name for t in tensors}
    words = any(
        len(t.shape) == 2 and t.shape[0] == head.outputs and t.name not in head.tensors
        and f"{t.name.removesuffix('weight')}bias" not in names
        for t in tensors
    )  # fmt: skip
    return own if words else metadata.vocabulary(manifest.metadata, head.outputs, own)


def _first_known(own: Labels, given: Labels | None) -> Labels:
    # What a file states in contradiction is not settled by what somebody says beside it.
    return own if own.known or own.source or given is None else given
