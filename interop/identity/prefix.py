"""Tensors as a file names them -> the prefix that all share, and the tensors without it."""

from __future__ import annotations

from collections.abc import Sequence

from interop.facts import AVERAGED, TensorSpec

# torch.compile wraps any submodule, so its token may stand in the middle of a name.
COMPILED = "_orig_mod."
# What trainers and wrappers put in front of every name (DistributedDataParallel, torch.compile,
# Lightning modules, timm's and others' containers). A token that all names share but that is not
# listed here is a module's own, and stays.
WRAPPERS = frozenset(
    {
        "module", "_orig_mod", "model", "net", "network", "_model", "base_model", "ema_model",
        "ema", "student", "teacher", "backbone_model", "_forward_module", "_fsdp_wrapped_module",
        "learner", "classifier_model", "generator",
    }
)  # fmt: skip


def strip_prefix(tensors: Sequence[TensorSpec]) -> tuple[str, tuple[TensorSpec, ...]]:
    """Take wrapper tokens off until no more come off; (prefix, renamed tensors)."""
    tensors = [t for t in tensors if t.name != AVERAGED]  # it is no weight
    names = [t.name for t in tensors]
    prefix = ""
    while names and (token := _shared_token(names)):
        prefix += token + "."
        names = [n[len(token) + 1 :] for n in names]
    if any(COMPILED in n for n in names):
        bare = [n.replace(COMPILED, "") for n in names]
        if len(set(bare)) == len(bare):
            names, prefix = bare, prefix + "…" + COMPILED
    if not prefix:
        return "", tuple(tensors)
    return prefix, tuple(t.named(n) for t, n in zip(tensors, names, strict=True))


def _shared_token(names: Sequence[str]) -> str:
    token, dot, _ = names[0].partition(".")
    if not dot or token not in WRAPPERS:
        return ""
    front = token + "."
    # What the first and the last of them begin with, all between them do.
    first, last = min(names), max(names)
    shared = first.startswith(front) and last.startswith(front) and first != front
    return token if shared else ""
