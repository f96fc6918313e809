"""What an artefact says of itself beside its numbers, held against its source."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

from interop.facts import Identity, Json, Proof, ProofName
from interop.identity.metadata import preprocessing_json
from interop.models.signature import Signature
from interop.runtimes.base import Array


def interface(
    artefact: Identity, source: Identity, takes: Signature, given: Mapping[str, Array],
    maps: Mapping[str, str],
) -> Proof:  # fmt: skip
    """Proves "interface": the artefact's names and types are matched, and what it states of labels
    and preprocessing is what its source states.

    What only one of the two states is said and is no fault; a difference is.
    """
    start = perf_counter()
    faults, said = [], []
    ours, theirs = artefact.labels, source.labels
    if ours.names is not None and theirs.names is not None:
        if tuple(ours.names) != tuple(theirs.names):
            faults.append(
                f"it names other labels than its source ({_parting(ours.names, theirs.names)})"
            )
        else:
            said.append(f"the same {len(ours.names)} labels")
    elif theirs.names is not None:
        said.append("it names no labels, its source does")
    elif ours.names is not None:
        said.append("its labels are its own statement: the source names none")
    if "disagree" in ours.source:
        faults.append(f"its own labels contradict each other: {ours.source}")
    how, its = artefact.preprocessing, source.preprocessing
    if how is not None and its is not None:
        if how != its:
            faults.append("it states another preparation of its inputs than its source")
        else:
            said.append("the same preparation of inputs")
    elif its is not None:
        said.append("it does not say how its inputs are prepared, its source does")
    elif how is not None:
        said.append("how its inputs are prepared is its own statement: the source says nothing")
    facts: dict[str, Json] = {
        "inputs": {a.name: [a.dtype, list(a.axes)] for a in takes.arguments},
        "outputs": {n: [str(a.dtype), list(a.shape)] for n, a in given.items()},
        "maps": dict(maps),
        "faults": faults,
        "preprocessing": [preprocessing_json(x) if x is not None else None for x in (how, its)],
    }
    names = f"{', '.join(takes.names)} -> {', '.join(given)}"
    if maps:
        names += f", by {', '.join(f'{n}={f}' for n, f in maps.items())}"
    what = "; ".join(faults) if faults else "; ".join([names, *said])
    return Proof(ProofName.INTERFACE, not faults, what, facts, perf_counter() - start)


def _parting(ours: tuple[str, ...], theirs: tuple[str, ...]) -> str:
    if len(ours) != len(theirs):
        return f"{len(ours)}, where the source has {len(theirs)}"
    place = next(i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if a != b)
    return f"output {place} is {ours[place]!r}, and {theirs[place]!r} in the source"
