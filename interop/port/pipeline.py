"""One port under way: the map, the tensors, the proofs, the file, and the report of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from interop.check import maps
from interop.check.pairing import pair
from interop.check.structure import is_derived
from interop.errors import ConfigError, ModelError
from interop.export import documents
from interop.facts import (
    AVERAGED,
    Answer,
    Architecture,
    Case,
    Finding,
    Identity,
    InputRole,
    Json,
    Level,
    Mapped,
    MapStep,
    Proof,
    ProofName,
    Report,
    Skipped,
)
from interop.facts.sections.export import PortSection
from interop.identity import parts
from interop.identity.describe import describe
from interop.models import state_dict
from interop.models.build_module import as_built
from interop.models.libraries.transformers.config import config_for
from interop.port import prove as proving
from interop.port import settings_diff, writing
from interop.port.endpoint import OPTIONS, Endpoint, derived, informed, model_of, need_config, side
from interop.port.fill import filled
from interop.port.models import Model, fitted, identity_of
from interop.port.options import PortOptions
from interop.rules import finding, head_width_changed, listed, run

FRACTION = ProofName.LOADED_FRACTION
_SHOWN = 3
_BY_NAME = {MapStep.NAME, MapStep.PREFIX, MapStep.RENAME, MapStep.HEAD, MapStep.TIED_HEAD}


def port(
    source: Identity,
    options: PortOptions,
    *,
    like: Identity | None = None,
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Gives the weights of `source` the names of the model `options.to`, or of the file `like`.

    The outcome is YES with the file written (proved or not: `details.proved` tells), or NO with
    nothing written where no map is complete or a proof fails. Raises InteropError for bad input.
    """
    if options.factory is None and (options.prove or options.to is not None):
        source = as_built(source, options.arch, strict=options.strict)
    if like is not None:
        shapes = {t.name: t.shape for t in like.tensors}
        source = parts.by_names(source, shapes, own=True)
    if like is not None and options.prove and options.like_factory is None:
        like = as_built(like, options.like_arch, strict=options.strict, beside=source)
    return PortRun(source, options, like, progress or (lambda step: None)).run()


@dataclass(slots=True)
class PortRun:
    """What was asked for, and what has come of it so far."""

    source: Identity
    options: PortOptions
    like: Identity | None
    progress: Callable[[str], None]
    proofs: list[Proof] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    steps: Counter[str] = field(default_factory=Counter)
    call: str = ""
    wider: list[Mapped] = field(default_factory=list)

    def run(self) -> Report:
        """The whole of it."""
        self._check_out()
        if left := self.source.left_over:
            place = f" beside {self.source.place!r}" if self.source.place else ""
            self.notes.append(f"left over{place}: {listed(left)}")
        self.progress("reading the weights")
        tensors = state_dict(self.source.tensors, self.source.manifest.path)
        return self._like(self.like, tensors) if self.like is not None else self._to(tensors)

    # ------------------------------------------------------------ to an architecture

    def _to(self, tensors: Mapping[str, torch.Tensor]) -> Report:
        given = self._given(tensors)
        model, module = fitted(self._target_model(given), given.identity)
        target = identity_of(module, model.name)
        # A map that is given speaks of the file's own names.
        named = given if self.options.map_file is None else Endpoint(self.source, tensors, None)
        mapped = self._map(target, named)
        if not self._fraction(target, named.identity, mapped):
            return self._report(False)
        state = {**derived(module, model), **filled(mapped, named.tensors, target)}
        endpoint = Endpoint(target, {t.name: state[t.name] for t in target.tensors}, model)
        if self.options.prove and not self._proved(given, endpoint, mapped):
            return self._report(False)
        if model.assumed:
            self.notes.append(
                "its config is in no file: the number of attention heads and other settings that "
                "no shape tells are not known"
            )
        else:
            self.call = model.call
        self._write_to(model, module, endpoint.tensors)
        return self._report(True)

    def _given(self, tensors: Mapping[str, torch.Tensor]) -> Endpoint:
        """The source, under its module's names where its architecture is known."""
        model, stated = self._source_model()
        out = self.options.out
        if self.options.prove or (out is not None and writing.is_folder(out)):
            need_config(self.source, model)
        try:
            return side(self.source, tensors, model)
        except ModelError:
            if stated or self.options.prove:
                raise
            return side(self.source, tensors, None)

    def _source_model(self) -> tuple[Model | None, bool]:
        """What the source is of; a config that the person gave counts for it where it can."""
        model, stated = model_of(self.source, self.options.arch, self.options.factory)
        to = self.options.to or ""
        variant = informed(model, Model(to).family, self.options.config, self.options.settings)
        if self.options.config and variant is model and not to.startswith("transformers/"):
            what = "is for classes of transformers alone"
            raise ConfigError(what, where="--config", fix="drop it")
        return variant, stated

    def _target_model(self, given: Endpoint) -> Model:
        assert self.options.to is not None
        library, _, kind = self.options.to.partition("/")
        options: dict[str, Json] = {}
        if library == "transformers":
            options = dict(self.options.config or self._config(given, kind))
        assumed = not self.options.config and given.model is not None and given.model.assumed
        settings = {**options, **self.options.settings}
        return Model(self.options.to, settings, assumed=bool(options) and assumed)

    def _config(self, given: Endpoint, kind: str) -> Mapping[str, Json]:
        """The config of a transformers class that is to take the source's weights."""
        model = given.model
        if model is not None and model.library == "transformers":
            return model.options
        names = [model.name] if model is not None else [a.name for a in self.source.architectures]
        config = next((c for n in names if (c := config_for(n, kind)) is not None), None)
        if config is None:
            of = f"of {names[0]}" if names else "of the source, whose architecture is not known,"
            what = f"the sizes {of} for {kind} are not known here"
            fix = "give them with --config config.json, or name the source with --arch"
            raise ConfigError(what, where=self.options.to or "", fix=fix)
        return config

    # ------------------------------------------------------------ like another file

    def _like(self, like: Identity, tensors: Mapping[str, torch.Tensor]) -> Report:
        # The file's own order of names is what pairs them: nothing has to be built for it.
        given = Endpoint(self.source, tensors, None)
        mapped = maps.with_heads(self._map(like, given), like, self.source)
        if not self._fraction(like, self.source, mapped):
            return self._report(False)
        self.wider = [m for m in mapped if m.step == MapStep.HEAD and m.a.shape != m.b[0].shape]
        state = filled(mapped, tensors, like)
        state |= state_dict([t for t in like.tensors if t.name not in state], like.manifest.path)
        state = {t.name: state[t.name] for t in like.tensors}
        if self.options.prove:
            shapes = tuple(replace(t, shape=tuple(state[t.name].shape)) for t in like.tensors)
            identity = replace(like, tensors=shapes)
            model = self._source_model()[0]
            need_config(self.source, model)
            theirs = model_of(like, self.options.like_arch, self.options.like_factory)[0]
            if theirs is not None and theirs.assumed and model and model.family == theirs.family:
                # The ported weights are the source's, and so are the settings that they need.
                theirs = replace(theirs, options=model.options, assumed=False)
            need_config(like, theirs)
            target = side(identity, state, theirs)
            if not self._proved(side(self.source, tensors, model), target, mapped):
                return self._report(False)
            assert target.model is not None
            self.call = target.model.call
        self._write_like(like, state)
        return self._report(True)

    # ------------------------------------------------------------ the map

    def _map(self, target: Identity, given: Endpoint) -> list[Mapped]:
        self.progress("pairing the tensors")
        if self.options.map_file is not None:
            mapped = maps.read(Path(self.options.map_file), target.tensors, given.identity.tensors)
        else:
            mapped = maps.whole(pair(target, given.identity))
        return [m for m in mapped if not is_derived(m.a)]

    def _fraction(self, target: Identity, source: Identity, mapped: list[Mapped]) -> bool:
        """Proves "loaded fraction": all of the target filled, all of the source used."""
        self.steps = Counter(m.step for m in mapped)
        wanted = [t for t in target.tensors if not is_derived(t)]
        there = [t for t in source.tensors if not is_derived(t)]
        left, over = maps.left_over(target, source, mapped)
        facts: dict[str, Json] = {
            "target_tensors": len(wanted),
            "source_tensors": len(there),
            "steps": dict(self.steps),
            "unfilled": left,
            "unused": over,
            "own": sum(is_derived(t) and not t.is_counter for t in target.tensors),
        }
        if left or over:
            what = (
                f"no complete map: {len(left)} of the target's {len(wanted)} tensors would stay "
                f"empty{_some(left)}, {len(over)} of the source's {len(there)} are not used"
                f"{_some(over)}"
            )
        else:
            by = ", ".join(f"{n} by {step}" for step, n in self.steps.most_common())
            what = (
                f"all {len(there)} tensors of the source fill all {len(wanted)} of the target: {by}"
            )
        self.proofs.append(Proof(FRACTION, not left + over, what, facts))
        return not left + over

    # ------------------------------------------------------------ the proof

    def _proved(self, source: Endpoint, target: Endpoint, mapped: list[Mapped]) -> bool:
        self.progress("building both models")
        theirs, ours = source.module(), target.module()
        given = proving.inputs(theirs, ours)
        self.progress("running both models")
        answers = [proving.outputs(theirs, x) for x in given]
        alike = proving.forward(theirs, ours, given, answers)
        # The files' names may be others than the modules', by which layers are held side by side.
        mapped = maps.whole(pair(target.identity, source.identity)) or mapped
        apart = settings_diff.differences(theirs, ours, mapped)
        facts = {
            **alike.facts,
            "apart": [str(a) for a in apart],
            "set": list(dict.fromkeys(a.hint for a in apart if a.hint)),
        }
        self.proofs.append(replace(alike, facts=facts))
        if not alike.holds:
            return False
        self.notes += [f"{one}: too little to show on these inputs" for one in apart]
        self.progress("trying the comparison itself")
        self.proofs.append(proving.canary(ours, given[:1], answers[:1], mapped))
        return self.proofs[-1].holds

    # ------------------------------------------------------------ the file

    def _check_out(self) -> None:
        if self.options.out is None:
            if not self.options.prove:
                fix = "say where to write with -o, or what to prove with --prove"
                raise ConfigError("nothing to do", fix=fix)
            return
        out = Path(self.options.out)
        folder = writing.is_folder(self.options.out)
        if folder and not (self.options.to or "").startswith("transformers/"):
            raise ConfigError(
                "a folder is for --to transformers/CLASS alone", where=self.options.out,
                fix="name a .safetensors or .pth file",
            )  # fmt: skip
        if not folder and out.suffix not in (".safetensors", *writing.PICKLED):
            what = "is neither .safetensors nor .pth"
            raise ConfigError(what, where=self.options.out, fix="choose one of the two")
        sources = [self.source.manifest.file, *([self.like.manifest.file] if self.like else [])]
        writing.check_target(out, sources, self.options.force)

    def _write_to(self, model: Model, module: nn.Module, state: Mapping[str, torch.Tensor]) -> None:
        if self.options.out is None:
            return
        self.progress("writing")
        metadata = self._metadata(model)
        config: dict[str, Any] = {}
        if model.library == "transformers":
            proving.load(module, state)
            config = writing.config_of(module, self._labels(model))
            state = writing.saved_names(module, state)
        out = Path(self.options.out)
        if writing.is_folder(self.options.out):
            writing.write_folder(out, state, metadata, config)
            self.call = f"transformers.{type(module).__name__}.from_pretrained({str(out)!r})"
        elif out.suffix == ".safetensors":
            writing.write_safetensors(out, state, metadata)
        else:
            writing.write_pickled(out, state, "", {})

    def _write_like(self, like: Identity, state: Mapping[str, torch.Tensor]) -> None:
        if self.options.out is None:
            return
        self.progress("writing")
        out = Path(self.options.out)
        pickled = out.suffix in writing.PICKLED
        if pickled or like.manifest.container == "safetensors":
            state = dict(zip(_raw_names(like), state.values(), strict=True))
        metadata = self._metadata(model_of(like, self.options.like_arch, None)[0])
        if pickled and any(key.isdigit() for key in like.place.split(".")):
            raise ModelError(
                f"its state dict lies in a list, at {like.place!r}", where=like.manifest.path,
                fix="write a .safetensors file",
            )  # fmt: skip
        if pickled:
            writing.write_pickled(out, state, like.place, metadata)
        else:
            writing.write_safetensors(out, state, metadata)

    def _metadata(self, model: Model | None) -> dict[str, str]:
        """arch with its options, labels and preprocessing, as far as they are known."""
        named = (Architecture(model.name, "port"),) if model is not None else ()
        metadata = documents.metadata(replace(self.source, architectures=named, assumptions=()))
        if model is not None and model.options and not model.assumed:
            metadata[OPTIONS] = json.dumps(dict(model.options), sort_keys=True)
        return metadata

    def _labels(self, model: Model) -> tuple[str, ...] | None:
        names = self.source.labels.names
        fits = names is not None and len(names) == model.options.get("num_labels")
        return names if fits else None

    # ------------------------------------------------------------ the report

    def _report(self, holds: bool) -> Report:
        names = {p.name for p in self.proofs}
        wanted = [FRACTION, *([proving.FORWARD, proving.CANARY] if self.options.prove else [])]
        bad = next((p for p in self.proofs if not p.holds), None)
        inputs = [describe(InputRole.SOURCE, self.source)]
        if self.like is not None:
            inputs.append(describe(InputRole.LIKE, self.like))
        assumed = (*self.source.assumptions, *(self.like.assumptions if self.like else ()))
        findings, _ = run(Case(proofs=tuple(self.proofs), assumptions=assumed))
        if holds and self.wider:
            findings = (*findings, self._wider_head())
        return Report(
            command="port",
            outcome=Answer.YES if holds else Answer.NO,
            summary=self._summary(bad),
            inputs=tuple(inputs),
            findings=findings,
            proofs=tuple(self.proofs),
            skipped=tuple(
                Skipped(n, f"{bad.name} does not hold") for n in wanted if n not in names and bad
            ),
            environment=documents.environment(),
            details=PortSection(
                to=self.options.to,
                out=self.options.out if holds else None,
                proved=holds and self.options.prove,
                standing="proved" if self.options.prove else self._unproved(),
                steps=dict(self.steps),
                call=self.call,
                notes=tuple(self.notes),
            ),
        )

    def _wider_head(self) -> Finding:
        """What there is to say of a head that keeps a width of its own."""
        rows = [(m.a.name, m.a.shape, m.b[0].shape) for m in self.wider]
        mine, own = rows[0][1][0], rows[0][2][0]
        return finding(
            head_width_changed.RULE,
            f"the head has the source's own width ({own} instead of {mine}): code that loads the "
            "file of --like does not take it with strict=True",
            hint=f"build the model with {own} outputs",
            facts={"tensors": [[name, list(was), list(now)] for name, was, now in rows]},
            level=Level.WARN,
            breaks=(),
        )

    def _unproved(self) -> str:
        """What to say of a map that was not run: names that agree are no guess."""
        if self.steps.keys() <= _BY_NAME:
            words = "every tensor by its name"
            if self.steps.keys() != {MapStep.NAME}:
                words = "by " + ", ".join(f"{s} ({n})" for s, n in self.steps.most_common())
            return f"{words}; not run"
        return "unproved (--prove runs both models)"

    def _summary(self, bad: Proof | None) -> str:
        if bad is not None:
            return bad.what
        word = f"proved{self.source.of_assumed}" if self.options.prove else self._unproved()
        return f"{self.options.out}: {word}" if self.options.out else f"the map is {word}"


def _raw_names(like: Identity) -> list[str]:
    """The names as the file itself has them, its wrapper's prefix included."""
    chosen = next(s for s in like.manifest.state_dicts if s.place == like.place)
    names = [t.name for t in chosen.tensors if t.name != AVERAGED]
    if len(names) != len(like.tensors):
        raise ModelError(
            "its names cannot be told from their prefix", where=like.manifest.path,
            fix="write a .safetensors file",
        )  # fmt: skip
    return names


def _some(names: list[str]) -> str:
    if not names:
        return ""
    more = ", …" if len(names) > _SHOWN else ""
    return f" ({', '.join(names[:_SHOWN])}{more})"
