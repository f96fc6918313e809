"""Whatever a checkpoint turns out to be -> its module with its weights, the proof, and notes."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from interop.errors import ModelError
from interop.facts import Identity, Proof
from interop.identity import identify_file
from interop.models import adapters, pickles
from interop.models.build_module import build_with_notes, whole
from interop.models.libraries.sentence_transformers import build as sentence_transformers
from interop.models.load_weights import load
from interop.models.whole_modules import is_pickled, rebuilt


def built(
    identity: Identity,
    *,
    factory: str | None = None,
    head: str | None = None,
    base: str | Path | Identity | None = None,
    arch: str | None = None,
    trust_pickle: bool = False,
) -> tuple[nn.Module, Proof, tuple[str, ...]]:
    """The module that a file is of, with the file's weights; the proof "loaded fraction"; notes.

    `factory`, `head` and `arch` are those of `build`. `base` is the checkpoint that an adapter is
    for; there, `factory` and `arch` say what the base is. `trust_pickle` lets a file that holds a
    whole pickled module run as the code that it is (`would_run` names it). The notes say what no
    file tells and was taken for granted. Raises what `build` and `load` do.
    """
    if base is not None:
        return _merged(identity, base, arch, factory)
    if trust_pickle and factory is None and head is None and whole(identity):
        module = pickles.unpickled(identity)
        names = ", ".join(pickles.would_run(identity)[:4])
        notes: tuple[str, ...] = (f"the file was unpickled, and ran as it names: {names}, …",)
    elif factory is None and head is None and sentence_transformers.is_chained(identity):
        first = sentence_transformers.transformer_of(identity)
        transformer, notes = build_with_notes(first, arch=arch)
        proof = load(transformer, first)
        if not proof.holds:
            return transformer, proof, notes
        return (*sentence_transformers.composed(transformer, proof, identity), notes)
    elif factory is None and head is None and is_pickled(identity):
        module, notes = rebuilt(identity, arch=arch)
    else:
        module, notes = build_with_notes(identity, factory=factory, head=head, arch=arch)
    return module, load(module, identity), notes


def _merged(
    identity: Identity, base: str | Path | Identity, arch: str | None, factory: str | None
) -> tuple[nn.Module, Proof, tuple[str, ...]]:
    if not adapters.is_adapter(identity):
        what = "--base is for an adapter, and it holds none"
        raise ModelError(what, where=identity.manifest.path, fix="leave --base away")
    of = base if isinstance(base, Identity) else identify_file(base)
    return adapters.merged(identity, of, arch=arch, factory=factory)
