"""Two identities and their pairing -> what `load_state_dict(strict=True)` makes of B in A's module.

A's module is known by its tensors alone. torch's modules carry hooks that take older files: they
fill what such a file lacks and use or drop what it has too much, by its names and its `_metadata`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from interop.facts import AVERAGED, Identity, Pairing, TensorSpec
from interop.patterns import lazy
from interop.records import dataclass, field, replace

__all__ = ["loaded"]

_NORM = ("running_mean", "running_var")
# Keys that are no tensors and that a module asks for, rather than the trainer that saved them.
_STATE = lazy(r"(^|\.)_extra_state$|_packed_params(\.|$)")


def loaded(a: Identity, b: Identity, found: Pairing) -> Pairing:
    """The pairing with what a strict load fills, takes, resizes, refuses and finds missing."""
    wanted, refused = _others(a, b)
    wanted += _stated(a, b)
    if found.missing or found.extra or found.reshaped:
        load = _Load(a, b, found)
        for hook in _HOOKS:
            hook(load)
        resized = frozenset(load.resized)
        filled = frozenset(load.filled)
        found = replace(found, filled=filled, taken=frozenset(load.taken), resized=resized)
    return replace(found, wanted=wanted, refused=refused)


def _others(a: Identity, b: Identity) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The keys beside the tensors paired that a strict load misses in B, and refuses of B."""
    mine, theirs = _keys(a), _keys(b)
    wanted = [k for k in mine - theirs if k == AVERAGED or _STATE.search(k)]
    return tuple(sorted(wanted)), tuple(sorted(theirs - mine))


def _stated(a: Identity, b: Identity) -> tuple[str, ...]:
    """What torchvision's MNASNets ask of a file: they refuse one without a version of theirs."""
    if not any(x.name.startswith("torchvision/mnasnet") for x in a.architectures):
        return ()
    versions = b.state.versions if b.state is not None else {}
    own = versions.get(b.prefix.rstrip("."), {})
    return () if own.get("version") in (1, 2) else ("MNASNet's version in _metadata",)


def _keys(identity: Identity) -> set[str]:
    state = identity.state
    if state is None or state.module:
        return set()
    return {*state.others, *(t.name for t in state.tensors if t.name == AVERAGED)}


@dataclass(slots=True)
class _Load:
    """A load under way: tensors by name, and what the hooks have done so far."""

    a: Identity
    b: Identity
    pairing: Pairing
    mine: Mapping[str, TensorSpec] = field(init=False)
    theirs: Mapping[str, TensorSpec] = field(init=False)
    names: Mapping[str, str] = field(init=False)
    filled: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)
    resized: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.mine = {t.name: t for t in self.a.tensors}
        self.theirs = {t.name: t for t in self.b.tensors}
        self.names = self.b.file_names

    def missing(self) -> Iterator[tuple[str, str, str]]:
        """Each name that B lacks: the name, its module's path with a dot, its leaf."""
        return (_parted(t.name) for t in self.pairing.missing)

    def before(self, version: int, name: str, up: int = 1, key: str = "") -> bool:
        """Whether B's file is older than a module's version.

        The module is `up` levels above B's tensor `name`. A file that states none is the oldest.
        """
        path = ".".join(self.names[name].split(".")[:-up])
        versions = self.b.state.versions if self.b.state is not None else {}
        own = versions.get(path, {})
        stated = own.get("spectral_norm", {}).get(key) if key else own.get("version")
        return stated is None or (type(stated) is int and stated < version)


def _parted(name: str) -> tuple[str, str, str]:
    path, dot, leaf = name.rpartition(".")
    return name, path + dot, leaf


def _counters(load: _Load) -> None:
    """BatchNorm fills its counter in files from before its version 2 (PyTorch 0.4.1).

    The norms that are frozen (torchvision's, DETR's) have none, and drop those of a file.
    """
    for name, path, leaf in load.missing():
        statistics = [path + part for part in _NORM]
        if leaf != "num_batches_tracked" or not all(s in load.mine for s in statistics):
            continue
        at = next((s for s in statistics if s in load.theirs), None)
        if at is not None and load.before(2, at):
            load.filled.add(name)
    for name, path, leaf in (_parted(t.name) for t in load.pairing.extra):
        if leaf == "num_batches_tracked" and all(path + part in load.mine for part in _NORM):
            load.taken.add(name)


def _weight_norm(load: _Load) -> None:
    """The parametrised weight norm takes the names of the old one, of one tensor by its name."""
    for spec in load.a.tensors:
        front, mark, rest = spec.name.rpartition("parametrizations.")
        name, _, leaf = rest.rpartition(".")
        if not mark or leaf != "original0" or "." in name:
            continue
        new = [spec.name, f"{front}parametrizations.{name}.original1"]
        old = [f"{front}{name}_g", f"{front}{name}_v"]
        if new[1] not in load.mine or not all(n in load.theirs for n in old):
            continue
        magnitude, direction = (load.mine[n].shape for n in new)
        norm = all(n in (1, m) for n, m in zip(magnitude, direction, strict=False))
        if norm and all(load.theirs[o].shape == load.mine[n].shape
                        for o, n in zip(old, new, strict=True)):  # fmt: skip
            load.filled.update(new)
            load.taken.update(old)


def _spectral_norm(load: _Load) -> None:
    """The spectral norm of a file from before its version 1 has the weight itself and no `_v`."""
    for spec in load.pairing.extra:
        parts = [spec.name + end for end in ("_orig", "_u", "_v")]
        there = all(p in load.mine for p in parts) and all(p in load.theirs for p in parts[:2])
        leaf = spec.name.rpartition(".")[2]
        if there and load.before(1, parts[0], key=f"{leaf}.version"):
            load.taken.add(spec.name)
            load.filled.add(parts[2])


def _observers(load: _Load) -> None:
    """Observers of quantization keep `eps` since their version 2, and take ranges of any length."""
    for name, path, leaf in load.missing():
        least = path + "min_val"
        observer = leaf == "eps" and least in load.mine and least in load.theirs
        if observer and load.before(2, least):
            load.filled.add(name)
    for pair in load.pairing.reshaped:
        name, path, leaf = _parted(pair.a.name)
        if len(pair.a.shape) != 1:
            continue
        ranges = leaf in ("min_val", "max_val") and path + "eps" in load.mine
        fake = leaf in ("scale", "zero_point") and path + "fake_quant_enabled" in load.mine
        if fake or (ranges and not load.before(3, name)):
            load.resized.add(name)


def _scalars(load: _Load) -> None:
    """A number takes a tensor of one element, as PyTorch before 0.4 saved numbers."""
    for pair in load.pairing.reshaped:
        if pair.a.shape == () and pair.b.shape == (1,):
            load.resized.add(pair.a.name)


# torchvision's own modules: (what a name ends in now, what it ended in before their version 2, how
# many levels above B's tensor the module lies that states its version).
_TORCHVISION: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str], int], ...] = (
    # Those of its Swin transformers look the same and have no such hook.
    (lazy(r"(encoder_layer_\d+\.mlp\.)0\.(\w+)$"), lambda m: f"{m[1]}linear_1.{m[2]}", 2),
    (lazy(r"(encoder_layer_\d+\.mlp\.)3\.(\w+)$"), lambda m: f"{m[1]}linear_2.{m[2]}", 2),
    (lazy(r"(?<=rpn\.head\.)conv\.0\.0\.(\w+)$"), lambda m: f"conv.{m[1]}", 2),
    (lazy(r"(?<=_head\.)conv\.(\d)\.0\.(\w+)$"), lambda m: f"conv.{2 * int(m[1])}.{m[2]}", 3),
    (lazy(r"((?:inner|layer)_blocks\.\d+)\.0\.(\w+)$"), lambda m: f"{m[1]}.{m[2]}", 3),
    (lazy(r"(?<=mask_head\.)(\d)\.0\.(\w+)$"), lambda m: f"mask_fcn{int(m[1]) + 1}.{m[2]}", 2),
)


def _torchvision(load: _Load) -> None:
    """torchvision's vision transformers and detectors take the names of their first version."""
    if not any(x.name.startswith("torchvision/") for x in load.a.architectures):
        return
    for spec in load.pairing.missing:
        for pattern, before, up in _TORCHVISION:
            old = pattern.sub(before, spec.name)
            there = load.theirs.get(old) if old != spec.name else None
            if there is not None and there.shape == spec.shape and load.before(2, old, up):
                load.filled.add(spec.name)
                load.taken.add(old)


_HOOKS = (_counters, _weight_norm, _spectral_norm, _observers, _scalars, _torchvision)
