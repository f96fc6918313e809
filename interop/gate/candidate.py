"""Two model files, a policy and reports made elsewhere -> the gate's Report of one candidate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from interop.check import check_identities
from interop.check.options import CheckOptions
from interop.errors import ReadError
from interop.facts import Evidence, EvidenceGap, Identity, Level, Report, Unreadable
from interop.gate import evidence
from interop.gate.bundle import lost, sealed
from interop.gate.judge import gate, refuse
from interop.identity import identify, split_place
from interop.identity.assumed import assumption
from interop.identity.imprint import with_imprint
from interop.policy.policy import Policy
from interop.reading import parts, read
from interop.reading.bytes.address import shown
from interop.reading.companion_files import described
from interop.records import dataclass, replace

# What is missing, and the two files -> the reports that can be made here.
Make = Callable[[Policy, Mapping[str, EvidenceGap], Identity, Identity], Sequence[Report]]
# The hash of a policy's data set, for the task of a bench report and the labels of the two files.
DataHash = Callable[[Policy, Report, Identity, Identity], str]
_OWN_BASE = "weights-unchanged-from-base"


@dataclass(frozen=True, slots=True)
class ModelPath:
    """A model: `path` is where it lies now ("FILE#PLACE" too), `name` how reports call it."""

    path: str
    name: str = ""


def judge(
    candidate: ModelPath,
    baseline: ModelPath,
    policy: Policy,
    handed: Sequence[Report] = (),
    *,
    unchanged: bool = False,
    alone: bool = False,
    content_hash: bool = True,
    make: Make | None = None,
    data_hash: DataHash | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Judge a candidate by the files, what was handed in and what `make` can make of the rest.

    `unchanged`: the two are one, byte for byte, which the caller knows; then the values are not
    read. `alone`: the two are one because nothing else is there to hold a new model against; its
    values are read as those of any other. Without `content_hash` no report that is handed in can be
    of these files. Raises ReadError for a baseline that cannot be read, or a bundle of which the
    bytes are not those of its receipt; a candidate like that fails.
    """
    whole = policy.values and (alone or not unchanged)
    unchanged = unchanged or alone
    if alone:  # that it is its own base says nothing
        policy = replace(policy, levels={**policy.levels, _OWN_BASE: Level.OFF})
    same = candidate == baseline
    a = None if same else _identify(baseline, policy, content_hash, whole)
    if not unchanged and (seal := sealed(baseline.path)) and not seal.holds:
        fix = "give the bundle as it was exported, or the file in it"
        raise ReadError(seal.what, where=baseline.name or baseline.path, fix=fix,
                        rule="bundle-changed")  # fmt: skip
    try:
        b = _identify(candidate, policy, content_hash, whole)
    except ReadError as error:
        return refuse(policy, _unreadable(candidate, error))
    a = b if a is None else a
    options = CheckOptions(intent=policy.intent, values=whole, levels=policy.levels)
    checked = check_identities(
        _called(a, baseline), _called(b, candidate), options, progress=progress
    )
    # A bundle's bytes are held against its receipt whether or not they are new.
    if (seal := sealed(candidate.path)) is None and (alone or not unchanged):
        seal = lost(candidate.path, "" if same else baseline.path)
    policy = _of_data(policy, handed, checked, data_hash, a, b)
    unmade = _unmade(policy, a, b) if make is not None else ""
    made_here = None if make is None or unmade else lambda missing: make(policy, missing, a, b)
    return gate(
        policy, [checked, *handed], sealed=seal, unchanged=unchanged, make=made_here, unmade=unmade
    )


def _unmade(policy: Policy, a: Identity, b: Identity) -> str:
    """Why no run of the two would be evidence: it would rest on an assumption."""
    if Evidence.ASSUMED in policy.accept:
        return ""
    run = [(b, a), (a, b)] if policy.bench else [(b, a)]
    assumed = [made for one, other in run if (made := assumption(one, other)) is not None]
    return evidence.not_accepted(assumed[0].fact, assumed[0].value) if assumed else ""


def _identify(side: ModelPath, policy: Policy, content_hash: bool, whole: bool) -> Identity:
    """What a side is of: a file with what the descriptions beside it say, as its folder is read."""
    path, place = split_place(side.path)
    try:
        manifest = read(path, content_hash=content_hash, whole=whole)
        if Path(path).is_file():
            metadata = {**described(Path(path)), **manifest.metadata}
            near = parts.beside(Path(path))
            near = tuple(map(parts.hashed, near)) if content_hash else near
            manifest = replace(manifest, metadata=metadata, parts=near)
        identity = identify(
            manifest,
            place=place,
            arch=policy.arch,
            labels=policy.labels,
            preprocessing=policy.preprocessing,
        )
        return with_imprint(identity)
    except ReadError as error:
        raise _told(error, side) from None


def _told(error: ReadError, side: ModelPath) -> ReadError:
    """The error of a copy with the names that people know the files by."""
    if not side.name:
        return error
    copy, known = side.path, side.name
    while copy and known and copy[-1] == known[-1]:
        copy, known = copy[:-1], known[:-1]
    what, where, fix = (
        text.replace(copy, known) if len(copy) > 1 else text
        for text in (error.what, error.where, error.fix)
    )
    return ReadError(what, where=where, fix=fix, rule=error.rule)


def _called(identity: Identity, side: ModelPath) -> Identity:
    """The same under the name that people gave it, where it lies in a copy."""
    if not side.name:
        return identity
    return replace(identity, manifest=replace(identity.manifest, path=side.name))


def _of_data(
    policy: Policy, handed: Sequence[Report], checked: Report, data_hash: DataHash | None,
    a: Identity, b: Identity,
) -> Policy:  # fmt: skip
    """The policy with its data set's hash, where a report has to be of that data."""
    fitting = [r for r in handed if r.command == "bench" and evidence.is_of(r, checked)]
    if policy.data is None or data_hash is None or not fitting or not policy.bench:
        return policy
    return replace(policy, data_sha256=data_hash(policy, fitting[0], a, b))


def _unreadable(side: ModelPath, error: ReadError) -> Unreadable:
    rule = error.rule or "file-unrecognised"
    return Unreadable(side.name or shown(side.path), rule, error.what, error.fix)
