"""Manifest -> Identity: which state dict, whose architecture, what head, labels and preprocessing.

Everything is read off names, shapes and metadata; nothing of the file is run.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from interop.errors import ReadError
from interop.facts import Architecture, Head, Identity, Labels, Manifest, Preprocessing, StateDict
from interop.identity import head as heads
from interop.identity import index, keys
from interop.identity.prefix import strip_prefix

__all__ = ["choose_state_dict", "identify", "identify_file", "with_values"]


def identify(
    manifest: Manifest,
    *,
    place: str | None = None,
    labels: Labels | None = None,
    preprocessing: Preprocessing | None = None,
    entries: index.Index | None = None,
) -> Identity:
    """Say what `manifest` is of.

    `place` chooses among several state dicts. `labels` and `preprocessing` are what a person gave;
    they count only where the file itself is silent. `entries` stands in for the stored index.
    Raises ReadError where the file holds several state dicts and none was chosen.
    """
    entries = entries or index.load()
    chosen = choose_state_dict(manifest, place)
    prefix, tensors = strip_prefix(chosen.tensors)
    stated = keys.architecture(manifest.metadata)
    match = index.find(tensors, entries)
    names = match.names if match else ()
    ambiguity = match.ambiguity if match else ""
    evidence = "names and shapes of its tensors"
    if len(names) > 1 and stated is not None and stated.value in {n.split("/")[1] for n in names}:
        names = tuple(n for n in names if n.split("/")[1] == stated.value)
        evidence, ambiguity = stated.source, ""
    if stated is not None and stated.value not in {n.split("/")[1] for n in names}:
        # A name from outside the index is nothing that tensors could contradict.
        known = f"torchvision/{stated.value}" in entries.heads
        if known or match is not None:
            ambiguity = f"{stated.source} says {stated.value!r}, which its tensors do not bear out"
        else:
            ambiguity = f"{stated.source} says {stated.value!r}, which the index does not hold"
    found: Head | None
    if match is not None:
        found = heads.at_path(tensors, match.head_path, standard=match.standard_head)
    elif manifest.graph is None and chosen.ordered:
        found = heads.by_definition_order(tensors)
    else:
        found = None
    how, fault = keys.preprocessing(manifest.metadata)
    return Identity(
        manifest=manifest,
        place=chosen.place,
        prefix=prefix,
        tensors=tensors,
        architectures=tuple(Architecture(n, evidence) for n in names),
        ambiguity=ambiguity,
        head=found,
        labels=_first_known(keys.labels(manifest.metadata), labels),
        preprocessing=how or preprocessing,
        preprocessing_fault="" if how or preprocessing else fault,
    )


def identify_file(
    given: str | Path,
    *,
    content_hash: bool = False,
    whole: bool = False,
    labels: Labels | None = None,
    preprocessing: Preprocessing | None = None,
) -> Identity:
    """Read a file, or "FILE#PLACE" for one of its state dicts, and say what it is of.

    `content_hash` and `whole` are those of `interop.reading.read`. Raises ReadError.
    """
    from interop.reading import read

    path, place = split_place(given)
    manifest = read(path, content_hash=content_hash, whole=whole)
    return identify(manifest, place=place, labels=labels, preprocessing=preprocessing)


def split_place(given: str | Path) -> tuple[str, str | None]:
    """ "train.pth#ema" -> the file, and the place in it; a "#" in a file's own name is its own."""
    path, mark, place = str(given).rpartition("#")
    if not mark or Path(given).exists():
        return str(given), None
    return path, place


def choose_state_dict(manifest: Manifest, place: str | None) -> StateDict:
    """The state dict at `place`, or the only one; never one of several by guess."""
    places = [s.place for s in manifest.state_dicts]
    if place is not None:
        for state_dict in manifest.state_dicts:
            if state_dict.place == place:
                return state_dict
        raise ReadError(
            f"holds no state dict at {place!r}",
            where=manifest.path,
            fix=f"it has: {', '.join(map(repr, places))}"
            if any(places)
            else "its one state dict is at the top level: leave the # and the rest away",
        )
    if len(manifest.state_dicts) > 1:
        shown = ", ".join(f"{p!r}" for p in places[:6]) + (", …" if len(places) > 6 else "")
        raise ReadError(
            f"holds {len(places)} state dicts: {shown}",
            where=manifest.path,
            fix=f"choose one as {Path(manifest.path).name}#{places[-1]}",
            rule="several-state-dicts",
        )
    return manifest.state_dicts[0] if manifest.state_dicts else StateDict("", ())


def with_values(identity: Identity) -> Identity:
    """The same identity with statistics on each tensor: the one step that reads the values.

    Raises ExtraMissing on the light install, which has no numpy.
    """
    from interop.reading import values_module

    stats = {id(spec): found for spec, found in values_module().values(identity.tensors)}
    tensors = tuple(replace(t, stats=stats.get(id(t))) for t in identity.tensors)
    return replace(identity, tensors=tensors, values_read=True)


def _first_known(own: Labels, given: Labels | None) -> Labels:
    # What a file states in contradiction is not settled by what somebody says beside it.
    return own if own.known or own.source or given is None else given
