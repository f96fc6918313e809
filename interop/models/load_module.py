"""Whatever a checkpoint turns out to be -> its module with its weights, the proof, and notes."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from interop.errors import ModelError
from interop.facts import Identity, Proof
from interop.identity import identify_file, parts
from interop.models import adapters, pickles, programs
from interop.models.build_module import as_built, build_with_notes, whole
from interop.models.key_mapping import is_transformers
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
    trust: bool = False,
    strict: bool = False,
) -> tuple[nn.Module, Proof, tuple[str, ...]]:
    """The module that a file is of, with the file's weights; the proof "loaded fraction"; notes.

    `factory`, `head` and `arch` are those of `build`. `base` is the checkpoint that an adapter is
    for; there, `factory` and `arch` say what the base is. `trust` lets a file that holds a
    whole pickled module run as the code that it is (`would_run` names it). The notes say what no
    file tells and was taken for granted. Raises what `build` and `load` do.
    """
    notes: tuple[str, ...]
    if base is not None:
        return _merged(identity, base, arch, factory, strict)
    if factory is None:
        identity = as_built(identity, arch, strict=strict)
    if factory is None and head is None and arch is None and programs.is_program(identity):
        module = programs.opened(identity, trust=trust)
        notes = ("the file's own program was run",)
        return module, load(module, programs.as_in_file(identity), assign=False), notes
    if trust and factory is None and head is None and whole(identity):
        module = pickles.unpickled(identity)
        names = ", ".join(pickles.would_run(identity)[:4])
        notes = (f"the file was unpickled, and ran as it names: {names}, …",)
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
        identity = model_part(identity, module, own=factory is not None)
    return module, load(module, identity), notes


def model_part(identity: Identity, module: nn.Module, *, own: bool) -> Identity:
    """Return the part of the file that is the module's, by names and shapes.

    transformers leaves tensors aside by rules of its own.
    """
    if is_transformers(module):
        return identity
    shapes = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    return parts.by_names(identity, shapes, own=own)


def _merged(
    identity: Identity,
    base: str | Path | Identity,
    arch: str | None,
    factory: str | None,
    strict: bool,
) -> tuple[nn.Module, Proof, tuple[str, ...]]:
    if not adapters.is_adapter(identity):
        what = "--base is for an adapter, and it holds none"
        raise ModelError(what, where=identity.manifest.path, fix="leave --base away")
    of = base if isinstance(base, Identity) else identify_file(base)
    if factory is None:
        of = as_built(of, arch, strict=strict)
    module, proof, notes = adapters.merged(identity, of, arch=arch, factory=factory)
    return module, proof, (*notes, *map(str, of.assumptions))
