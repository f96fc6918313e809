"""One export under way: module -> routes -> proofs -> documents, and the report of it."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from interop.errors import DataError, InteropError, ModelError, Unsettled
from interop.export import (
    artifacts,
    attention,
    bundle,
    documents,
    introspect,
    library_files,
    observe,
    open_sizes,
    routes,
    weights,
    wording,
)
from interop.export.control_flow import Decisions, catches, decisions
from interop.export.open_sizes import Shapes
from interop.export.options import ExportOptions
from interop.export.size_agnostic import agnostic, is_listed, limits
from interop.export.weights import WrittenWeights
from interop.facts import (
    PROOFS,
    Answer,
    Assumption,
    AxisState,
    Case,
    Danger,
    Identity,
    InputRole,
    Json,
    Measurement,
    Proof,
    ProofName,
    Report,
    Skipped,
)
from interop.facts.sections.export import Attempt, ExportSection, GraphInput
from interop.files import Staging
from interop.identity.describe import describe
from interop.imprint import divergence, note
from interop.models import built, load, programs
from interop.models.build_module import as_built
from interop.models.infer_signature import signature
from interop.models.libraries.transformers.signature import is_one, takes_batches
from interop.models.load_module import model_part
from interop.models.signature import (
    Argument,
    Arrays,
    Forward,
    Signature,
    drawn,
    narrowed,
    parse_argument,
    settled,
)
from interop.models.signature.lengths import said
from interop.models.signature.types import DETECTIONS, SIDES
from interop.models.user_code import afresh
from interop.proof import Derived, Feed, canary, parity, reference, same_weights, structure
from interop.proof.domain import Explored, Outcome, at_home, explore, repeat
from interop.proof.feed import sizes_for
from interop.proof.guards import Guard, Sizes
from interop.reading import read
from interop.report.json import to_json
from interop.rules import listed
from interop.rules import run as run_rules
from interop.runtimes import OpenVinoRuntime
from interop.runtimes.memory import let_go, sparing
from interop.runtimes.pytorch import host, require_torch_device, tensors

WEIGHTS, GRAPH = "model.safetensors", "model.onnx"
REMEMBERED = 64  # real ones that are compared with what the weights remember
SAMPLES = 16  # real ones on which parity is proved; batches of 1, 2 and 3 use the first six
# Conditions on height and width that a trace may note before they are held, unless they were asked
# for: a windowed transformer has hundreds, and its trace takes minutes.
GUARDS = 64
VALUES = 4  # inputs of one size, if the graph may hold for some values alone
Progress = Callable[[str], None]
# Real inputs (n, ...) as the model takes them; by input name where it takes several.
Samples = NDArray[Any] | Mapping[str, NDArray[Any]]
# What ONNX Runtime has few operators for, and what to do instead.
LACKING = {torch.float64: "it has few operators for float64: save the checkpoint in float32"}


@dataclass(frozen=True, slots=True)
class RouteResult:
    """What the route that held gave, and the inputs as the graph has them."""

    route: routes.Route
    opset: int
    derived: dict[str, Json]
    inputs: tuple[dict[str, Json], ...]


@dataclass(frozen=True, slots=True)
class Proved:
    """What one route gave, with its proofs and the graph's bytes. `decided` are the places where
    the trace took a decision for good."""

    made: RouteResult
    proofs: tuple[Proof, ...]
    hopeless: bool
    explored: Explored
    decided: tuple[str, ...]
    graph: bytes

    @property
    def holds(self) -> bool:
        return all(p.holds for p in self.proofs)

    @property
    def closed(self) -> tuple[int, int]:
        """How many axes are fixed, and how many restricted."""
        states = [axis.state for axis in self.explored.axes({}) if axis.name]
        return states.count(AxisState.FIXED), states.count(AxisState.RESTRICTED)

    @property
    def departure(self) -> str:
        """Where the graph is not the module, for no reason that the module gives."""
        bad = (t for t in self.explored.trials if t.outcome in (Outcome.DIFFERS, Outcome.FAILS))
        return next((t.why or f"it departs at {wording.sizes(t)}" for t in bad), "")


@dataclass(slots=True)
class ExportRun:
    """The proofs, attempts and times that a report is made of."""

    identity: Identity
    options: ExportOptions
    progress: Progress
    real: Samples | None = None
    forward: Forward | None = None
    folder: Path | None = None  # of the bundle, once it is there
    proofs: list[Proof] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    section: ExportSection = field(default_factory=ExportSection)
    notes: list[str] = field(default_factory=list)
    program: Identity | None = None  # the file whose program a bundle was made of
    assumed: tuple[str, ...] = ()  # the notes on how the module was made
    decided: Decisions | None = None
    seen: observe.Observed = field(default_factory=observe.Observed)
    sizes_read: Shapes | None = None  # while the module ran on one row
    source_sha256: str = ""
    measurements: tuple[Measurement, ...] = ()
    parted: tuple[Any, ...] | None = None
    learned: routes.Learned = field(default_factory=routes.Learned)
    held_axes: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    answered: tuple[Arrays, tuple[NDArray[Any], ...]] | None = None
    began: float = 0.0  # of the route that is tried
    proving: list[float] = field(default_factory=lambda: [0.0, 0.0])
    start: tuple[float, float] = field(default_factory=lambda: (perf_counter(), process_time()))

    @property
    def inputs(self) -> list[tuple[Argument, dict[str, int]]]:
        """What a person said that the module takes, with the sizes of named axes."""
        return [parse_argument(text, place) for place, text in enumerate(self.options.inputs)]

    def module(self) -> nn.Module:
        """The module with the checkpoint's weights, and the first proof."""
        self.progress("building the module")
        module, proof, notes = self.built()
        self.notes += notes
        if getattr(module, "transform_input", None) is False:
            self.notes.append(
                "transform_input is off, as in the bare constructor; a model that was fine-tuned "
                "from torchvision's own weights has it on, and no state dict tells"
            )
        self.proofs.append(proof)
        if not self.options.base and not self.program and not programs.is_program(self.identity):
            self.identity = model_part(self.identity, module, own=bool(self.options.factory))
        if introspect.dtype(module) == torch.bfloat16:
            module.float()
            self.notes.append(
                "bfloat16 weights were widened to float32, which holds each exactly: ONNX Runtime "
                "has few operators for bfloat16. Run in bfloat16, the module rounds its answers"
            )
        unsafe = [str(i) for i in self.identity.manifest.imports if i.danger == Danger.UNSAFE]
        if unsafe:
            self.notes.append(
                f"unpickling the source would run {listed(unsafe)}; it was read as data, and none "
                "of it was run: do not load it in any other way"
            )
        if introspect.dtype(module) == torch.float16:
            self.notes.append(
                "float16 on the CPU: ONNX Runtime's NchwcTransformer may crash on convolutions of "
                "float16, and was off here; load the graph there with "
                "disabled_optimizers=['NchwcTransformer']"
            )
        self.assumed = tuple(self.notes)
        self.notes += note(self.identity)
        return module

    def built(self) -> tuple[nn.Module, Proof, tuple[str, ...]]:
        options = self.options
        if self.program is not None:
            module = programs.opened(self.program, trust=options.trust)
            return module, load(module, self.identity, assign=False), ()
        return built(
            self.identity,
            factory=options.factory,
            head=options.head,
            base=options.base,
            arch=options.arch,
            trust=options.trust,
            strict=options.strict,
        )

    def again(self) -> nn.Module:
        """The module of a person's own code, built a second time."""
        with contextlib.ExitStack() as stack:
            for reference in filter(None, (self.options.factory, self.options.head)):
                stack.enter_context(afresh(reference))
            module = self.built()[0]
        return module.float() if introspect.dtype(module) == torch.bfloat16 else module

    def prepare(self, module: nn.Module) -> tuple[Forward, Feed]:
        """The module as one function of tensors, and what it is to be fed.

        Raises ModelError where the module itself fails on its input: no exporter is to blame.
        """
        given = self.real
        named = given if isinstance(given, Mapping) else None
        takes = signature(self.identity, module, self.inputs, named)
        samples = self.samples(takes)
        if samples is not None:
            takes = introspect.like(takes, samples)
        elif takes.assumed:
            self.assume_size(takes)
        states = getattr(module, "example_input_array", None) is not None
        if samples is None and not self.inputs and not states:
            self.notes += introspect.own_size(self.identity, takes)
        forward = Forward(module, takes)
        forward.signature = takes = settled(forward, introspect.dtype(module))
        self.notes += [*said(takes), *introspect.said(takes)]
        sizes = sizes_for(sum(p.numel() for p in module.parameters()))
        feed = Feed(takes, samples, "seeded" if samples is None else "real", sizes)
        self.run_once(forward)
        observe.check_lists(forward, self.seen, self.identity.manifest.path)
        assert self.answered is not None
        if self.options.factory or self.options.head:
            self.proofs[0] = self.proved(
                introspect.rebuilt, self.proofs[0], forward, self.answered, self.again
            )
            if isinstance(why := self.proofs[0].facts["built_twice"], str):
                self.notes.append(
                    "the module could not be rebuilt, so it was not checked for random values that "
                    f"no file stores ({why[:120]})"
                )
        if takes.part:
            self.notes.append(f"of the module, {takes.part} is in the graph; the rest is not")
        if is_one(module) and not takes_batches(module):
            self.notes.append(
                "one text at a time: the config names no padding (pad_token_id), by which the "
                "class would find the end of each text of a batch"
            )
        forward.signature = narrowed(forward, introspect.dtype(module))
        self.held_axes |= introspect.refused(self.inputs, forward.signature)
        self.forward = forward
        return forward, replace(feed, signature=forward.signature)

    def assume_size(self, takes: Signature) -> None:
        """Note that the size of the input is assumed. Raises Unsettled if nothing may be."""
        where = self.identity.manifest.path
        why = "as its first layer takes it; it runs at other sizes too"
        made = Assumption("input size", str(takes), why=why, where=where)
        if self.options.strict:
            fix = "say what it takes with --input"
            what = f"{made.sentence('would be')}, which --strict does not allow"
            raise Unsettled(what, where=where, fix=fix, rule="input-assumed")
        assumptions = (*self.identity.assumptions, made)
        self.identity = replace(self.identity, assumptions=assumptions)

    def run_once(self, forward: Forward) -> None:
        """Learns the outputs' names and a first answer. ModelError where the module fails on it."""
        # One row: what it is to tell, names and whether the module runs at all, no second one adds.
        given = drawn(forward.signature, 1)
        example = tuple(t.clone() for t in tensors(given, introspect.dtype(forward)))
        reading = open_sizes.recorded() if is_listed(forward.model) else contextlib.nullcontext()
        with observe.observing(forward.signature, example) as self.seen, reading as self.sizes_read:
            try:
                outputs = forward.learn_outputs(example)
            except ModelError:
                raise
            except Exception as error:  # a person's own code may raise anything
                shapes = ", ".join(str(tuple(t.shape)) for t in example)
                what = f"the module fails on an input of shape {shapes}: {routes.why(error)}"
                walked = [*self.seen.walked, *observe.indexed(forward, example)]
                fix = introspect.remedy(forward, walked, described=bool(self.inputs))
                raise ModelError(what, where=self.identity.manifest.path, fix=fix) from error
        self.answered = given, tuple(host(t).copy() for t in outputs)

    def samples(self, takes: Signature) -> Mapping[str, NDArray[Any]] | None:
        """Real samples by the names of the inputs; DataError where those are others."""
        given = self.real
        if given is None or not len(given):
            return None
        if not isinstance(given, Mapping):
            given = {takes.names[0]: given}
        elif len(given) == len(takes.names) == 1:  # one array for one input needs no name
            given = {takes.names[0]: next(iter(given.values()))}
        if set(given) != set(takes.names):
            what = f"holds {', '.join(given)}, where the model takes {', '.join(takes.names)}"
            fix = "save an array for each input, by the input's name"
            raise DataError(what, where="--data", fix=fix)
        return {name: given[name] for name in takes.names}

    def proved(self, proof: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Runs a proof on the proofs' clock."""
        began = perf_counter(), process_time()
        try:
            return proof(*args, **options)
        finally:
            self.proving[0] += perf_counter() - began[0]
            self.proving[1] += process_time() - began[1]

    def convert(self, forward: Forward, feed: Feed, folder: Path) -> RouteResult | None:
        """Takes one route after the other until all proofs hold; None where none does.

        A graph that is not the module at some sizes is kept: it counts, restricted, if no other
        route does better. A library may write one branch for torch.export and another for traces.
        """
        source = self.identity.manifest
        if source.content_sha256 is None:
            source = read(source.path, content_hash=True)
        self.source_sha256 = source.content_sha256 or ""
        weights = self.write_weights(forward.model, folder)
        failed: list[Proof] = []
        kept: Proved | None = None
        raised: list[tuple[routes.Route, str]] = []
        for route in introspect.fitting(forward, self.seen.attention):
            if routes.doomed(route, raised):
                continue
            if kept is not None and (route.open != "all" or (kept.explored.clean and route.dynamo)):
                continue  # what the module itself restricts, a trace of the same kind does not open
            if not route.dynamo and self.decided is not None and self.decided.places:
                continue  # a trace of TorchScript would fix what the module decides
            self.began = perf_counter()
            proved = self.through(route, forward, feed, weights, folder)
            if proved is None:
                raised.append((route, self.attempts[-1].why))
                continue
            if proved.holds:
                kept = proved if kept is None or proved.closed < kept.closed else kept
                if not any(proved.closed):
                    break
                if not proved.explored.clean:
                    self.give_up(route, proved.departure)
                continue
            why = next(p.what for p in proved.proofs if not p.holds)
            if "outputs of shape" in why and self.by_values(route, forward, feed):
                why += "; give pad_packed_sequence its total_length"
            self.give_up(route, why)
            # Where no other route could do better, its reason is the one to tell.
            failed = list(proved.proofs) if proved.hopeless else failed or list(proved.proofs)
            if self.parted is None and (label := wording.parting(proved.proofs)):
                self.parted = route, label
            if proved.hopeless:
                break
        if kept is not None:
            (folder / GRAPH).write_bytes(kept.graph)
            name = kept.made.route.name
            self.attempts = [a for a in self.attempts if a.route != name]
            return self.accept(kept, forward, folder)
        if not failed:
            first = {a.why: a.route for a in reversed(self.attempts)}
            tried = "; ".join(f"{route}: {why}" for why, route in reversed(first.items()))
            what = f"no exporter route takes the module: {tried}; {routes.remedy(first)}"
            failed = [Proof(ProofName.STRUCTURE, False, what)]
        self.proofs += failed
        return None

    def give_up(self, route: routes.Route, why: str) -> None:
        """Note a route that does not hold, with the time that it took."""
        self.attempts.append(Attempt(route.name, why, perf_counter() - self.began))

    def through(
        self, route: routes.Route, forward: Forward, feed: Feed, held: WrittenWeights, folder: Path
    ) -> Proved | None:
        """One route with its proofs; None where it gives no graph, which is noted."""
        self.progress(f"converting ({route.name})")
        # Of such a module all that a trace could note is known.
        known_classes = not route.dynamo and agnostic(forward.model, forward.signature)
        if (
            not route.dynamo
            and not known_classes
            and (found_at := self.decides(forward, feed).places)
        ):
            why = (
                "the module decides in Python on its input's values, or catches an error of "
                f"torch's own ({wording.some(found_at)}), which a trace would fix for good: write "
                "it with torch.where"
            )
            self.give_up(route, why)
            return None
        batch_alone = known_classes and not forward.signature.varying
        sizes = self.sizes_read if batch_alone else None
        with _uncollected():
            try:
                converted = self.converted(route, forward, feed, sizes)
            except routes.OutOfTime:
                budget = routes.seconds(forward)
                self.give_up(route, f"it took longer than its budget of {budget:.0f} s")
                return None
            except Exception as error:  # an exporter may raise anything
                self.give_up(route, routes.why(error))
                return None
            model = converted.model
            inputs = introspect.inputs(model, converted.axes)
            opset = model.opset_imports.get("", 0)
            from interop.export import graph

            derived = graph.write(
                model, folder / GRAPH, held.state, held.places, held.metadata,
                folds=route.folds, axes=converted.axes, aliases=held.aliases,
            )  # fmt: skip
            decided = () if known_classes else converted.decided
            del model, converted
        takes = routes.opened(forward.signature, route)
        known = self.learned.of(takes)
        if known is None and not route.dynamo and introspect.recurs(forward):
            known = routes.guards_of(forward, feed, takes)  # no other route has traced it yet
        if known_classes:
            known = limits(forward.model, forward.signature)
        elif (
            known is None and not route.dynamo and not decided
            and not self.catching(forward, feed)
        ):  # fmt: skip
            known = ()  # a trace of TorchScript warns of each decision on a shape: there was none
        proofs, hopeless, explored = self.prove(
            forward, feed, held, folder, derived, known,
            thorough=known is None or not (route.dynamo or known_classes),
            draws=VALUES if not known_classes and self.by_values(route, forward, feed) else 1,
        )  # fmt: skip
        accounts = {n: {"how": d.how, "sha256": d.sha256} for n, d in derived.items()}
        route_result = RouteResult(route, opset, accounts, inputs)
        return Proved(
            route_result, tuple(proofs), hopeless, explored, decided, (folder / GRAPH).read_bytes()
        )

    def converted(
        self, route: routes.Route, forward: Forward, feed: Feed, sizes: Shapes | None
    ) -> routes.Converted:
        """The graph; height and width are held where their trace goes on and on."""
        sides = tuple(a for a in SIDES if a in forward.signature.varying)
        asked = bool(self.options.inputs)
        try:
            return routes.convert(
                forward, feed, route,
                budget=GUARDS if sides and not asked else None, learned=self.learned,
                seconds=routes.seconds(forward), sizes=sizes,
            )  # fmt: skip
        except routes.TooManyGuards as error:
            why = f"the module has {error}, and its trace takes minutes"
            opens = f"--input '{wording.spec(forward.signature)}' opens them"
            self.notes.append(f"{' and '.join(sides)} are fixed: {why}; {opens}")
            for argument in forward.signature.arguments:
                for place, axis in enumerate(argument.axes):
                    if axis in sides:
                        self.held_axes[argument.name, place] = str(axis), f"{why}; {opens}"
            forward.signature = forward.signature.fixed(*sides)
            feed = replace(feed, signature=forward.signature)
            seconds = routes.seconds(forward)
            return routes.convert(forward, feed, route, learned=self.learned, seconds=seconds)

    def accept(self, found: Proved, forward: Forward, folder: Path) -> RouteResult:
        """The graph of a route that holds, with its domain in it and in the report."""
        domain = found.explored.axes(self._held(forward.signature, found))
        domain = introspect.explained(domain, self.seen.pools, self.attempts)
        from interop.export import graph

        graph.restrict(folder / GRAPH, domain)
        inputs = tuple(
            {**given, "shape": wording.shown(given["name"], given["shape"], domain)}
            for given in found.made.inputs
        )
        fixed = [d.name for d in domain if d.state is AxisState.FIXED and d.name]
        forward.signature = found.explored.signature.fixed(*dict.fromkeys(fixed))
        trials = [
            wording.trial_facts(t)
            for t in found.explored.trials
            if t.outcome is not Outcome.UNTRIED
        ]
        for p in found.proofs:
            if p.name == ProofName.PARITY:
                p = replace(
                    p, what=f"{p.what}{wording.elsewhere(found.explored.trials)}",
                    facts={**p.facts, "trials": trials, "domain": [d.json() for d in domain],
                           "asked": sorted({x for a, _ in self.inputs for x in a.axes
                                            if isinstance(x, str)})},
                )  # fmt: skip
            self.proofs.append(p)
        self.section = replace(self.section, domain=tuple(domain))
        self.notes += introspect.fixed_notes(domain, noted=self.notes)
        if found.decided:
            self.notes.append(
                "tracing fixed what the module decides in Python on its input's shape, as in the "
                f"tried ones: {', '.join(found.decided)}"
            )
        return replace(found.made, inputs=inputs)

    def _held(self, takes: Signature, proved: Proved) -> dict[tuple[str, int], tuple[str, str]]:
        """The named axes that the graph has at one size, and why: a budget, or its route."""
        first = next((a.why for a in self.attempts), "")
        why = f"no route that leaves it open held ({first})" if first else "its route fixes it"
        return {
            (argument.name, place): (axis, why)
            for argument in takes.arguments
            for place, axis in enumerate(argument.axes)
            if isinstance(axis, str)
        } | self.held_axes

    def add(self, data: artifacts.Data | None, forward: Forward, folder: Path) -> bool:
        """What was asked for beside the bundle; False where a proof of it fails."""
        signature = forward.signature
        feed = Feed(signature, self.samples(signature), "real" if data else "seeded")
        precisions: dict[str, Json] = {}
        for name in self.options.precisions:
            self.progress(f"writing the graph in {name}")
            precisions[name], measured = artifacts.lower(
                data, name, folder / GRAPH, self.identity, feed
            )
            self.measurements += measured
        if precisions:
            self.section = replace(self.section, precision=precisions)
        for name, facts in precisions.items():
            if facts.get("of"):
                whole = sum(facts["of"].values())
                done = sum(
                    n
                    for kind, n in facts["operators"].items()
                    if kind in facts["of"] or "Integer" in kind or "QuantizeMatMul" in kind
                )
                kinds = ", ".join(f"{n} {kind}" for kind, n in facts["of"].items())
                self.notes.append(
                    f"{name}: {done} of {whole} operators with weights ({kinds}) compute in int8"
                )
        if precisions and data is None:
            self.notes.append(
                "the precisions were compared on seeded input: what they cost on real samples is "
                "not known; --data measures it"
            )
        if self.options.with_preprocess or self.options.with_labels:
            self.progress("putting the preprocessing into a graph")
            labelled = self.options.with_labels
            facts, proof = artifacts.prepare(data, folder / GRAPH, self.identity, labelled=labelled)
            self.section = replace(self.section, prepared=facts)
            self.proofs.append(proof)
            if not proof.holds:
                return False
        if self.options.embed:
            self.progress("embedding the weights")
            artifacts.embedded(folder)
            self.section = replace(self.section, embedded=True)
        return True

    def compare_inputs(self, data: artifacts.Data | None, forward: Forward) -> None:
        """Compare the real inputs with what the weights remember of those of training."""
        if data is None or forward.signature.kind == DETECTIONS:
            return
        self.progress("comparing the inputs with those of training")
        given = artifacts.samples(data, self.identity, REMEMBERED)
        inputs = given if isinstance(given, Mapping) else {"input": given}
        self.measurements += divergence(forward, inputs, self.identity.manifest.path)

    def explain(self, forward: Forward, feed: Feed, target: Path) -> None:
        """Finds where the graph of the first route parts from its module; keeps what shows it."""
        if self.parted is None or self.options.device != "cpu":
            return
        from interop.export.divergence import explain as explaining

        self.progress("looking for the first node that departs")
        route, label = self.parted
        kept = target.with_name(f"{target.name}-departure")
        departure = explaining.explain(forward, feed, route, label, kept, self.write_weights)
        self.section = replace(self.section, departure=departure)

    def write_weights(self, module: nn.Module, folder: Path) -> WrittenWeights:
        """The safetensors file or files, each tensor once."""
        state, aliases = self.own_state(module)
        metadata = documents.metadata(self.identity)
        header = {"format": "pt", **metadata, **aliases}
        places = weights.write(folder / WEIGHTS, state, header, self.options.shard)
        files = sorted({p.file for p in places.values()})
        path = folder / (WEIGHTS if files == [WEIGHTS] else f"{WEIGHTS}.index.json")
        return WrittenWeights(path, state, aliases, places, metadata)

    def own_state(self, module: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
        """The state dict with each tensor once, and the second names.

        What the class computes itself is in no file of its library's, and so in none of ours: the
        graph has it as a constant.
        """
        state, aliases = introspect.once(self.identity, module)
        computed = {n for p in self.proofs for n in p.facts.get("computed", ())}
        return {n: t for n, t in state.items() if n not in computed}, aliases

    def prove(
        self,
        forward: Forward,
        feed: Feed,
        held: WrittenWeights,
        folder: Path,
        derived: Mapping[str, Derived],
        guards: tuple[Guard, ...] | None = None,
        *,
        thorough: bool = False,
        again: Sequence[Sizes] | None = None,
        draws: int = 1,
    ) -> tuple[list[Proof], bool, Explored]:
        """The four proofs of a graph, whether no other route could do better, and its domain.

        `guards` are those of its trace, None where they are not known. `again` are sizes of which a
        receipt says that they hold: they are tried, and no others. `draws` are the inputs of
        other values that are tried of each size.
        """
        model, device = folder / GRAPH, self.options.device
        self.progress("proving the weights and the structure")
        same = self.proved(same_weights, model, held.path, derived, state=held.state)
        same = introspect.with_unused(same, forward, self.answered)
        let_go(forward.parameters())  # all were read to be compared
        width = introspect.width(self.identity, forward)
        sound, runtime, first = self.proved(
            structure,
            model,
            feed,
            width=width,
            device=device,
            weights=introspect.plain_weights(forward),
        )
        if runtime is None:
            lacking = introspect.dtype(forward) in LACKING
            if lacking:
                sound = replace(sound, what=f"{sound.what}; {LACKING[introspect.dtype(forward)]}")
            return [same, sound], lacking, Explored(forward.signature)
        with runtime, sparing(forward):
            self.progress("proving parity")
            truth = self.proved(
                reference, forward, feed, shapes=runtime.input_shapes, device=device,
                sets=forward.outputs if forward.signature.kind == DETECTIONS else (),
                answered=self.answered,
            )  # fmt: skip
            if self.options.runtime == "openvino":
                with OpenVinoRuntime(model, device) as other:
                    alike = self.proved(parity, truth, other)
            else:
                alike = self.proved(parity, truth, runtime, first or None)
            explored = Explored(forward.signature)
            if again is not None and alike.holds:
                trials = self.proved(repeat, truth, forward, runtime, again, device=device)
                alike = wording.repeated(alike, trials)
            elif draws > 1 and alike.holds:
                homes = at_home(forward.signature, truth, runtime.input_shapes)
                trials = self.proved(
                    repeat, truth, forward, runtime, homes, device=device, draws=draws
                )
                alike = wording.repeated(alike, trials, draws)
            if again is None and same.holds and alike.holds and sound.holds:
                self.progress("trying other sizes")
                explored = self.proved(
                    explore, truth, forward, runtime, guards, shapes=runtime.input_shapes,
                    thorough=thorough, device=device, draws=draws,
                )  # fmt: skip
        proofs = [same, alike, sound]
        finite = all(np.isfinite(o).all() for outputs in truth.native for o in outputs)
        hopeless = truth.unsteady or not finite or same.facts.get("unused_is_fault", False)
        hopeless = hopeless or bool(sound.facts.get("broken_weights"))
        if all(p.holds for p in proofs):
            self.progress("trying the comparison itself")
            names = self.identity.head.tensors if self.identity.head else ()
            held_so = truth.without(alike.facts.get("by_their_own_float64", ()))
            sharp = self.proved(canary, model, held_so, head=names, device=device)
            proofs.insert(2, sharp)
            return proofs, not sharp.holds, explored
        return proofs, hopeless, explored

    def decides(self, forward: Forward, feed: Feed) -> Decisions:
        """Where the module decides on its input's values; looked for once.

        torchvision's detectors are written so that a trace follows whatever they find.
        """
        if forward.signature.kind == DETECTIONS:
            return Decisions()
        # A program has its branches in itself, and the exporter keeps them.
        if isinstance(forward.model, torch.jit.ScriptModule):
            return Decisions()
        if self.decided is None:
            try:
                example = tensors(feed.example(), introspect.dtype(forward))
                self.decided = decisions(forward, example)
            except Exception:  # the module fails, as the exporter will say
                self.decided = Decisions()
        return self.decided

    def by_values(self, route: routes.Route, forward: Forward, feed: Feed) -> bool:
        """Say whether a graph may be the module for some values of its inputs alone: torch's code
        of packed sequences and of padding looks at them."""
        packs = not route.dynamo and self.decides(forward, feed).packs
        return packs or attention.nests(forward)

    def catching(self, forward: Forward, feed: Feed) -> tuple[str, ...]:
        """Where the module's own code catches errors."""
        if self.options.factory is None:
            return ()
        return catches(forward, tensors(feed.example(), introspect.dtype(forward)))

    def write_documents(self, folder: Path, name: str, forward: Forward, made: RouteResult) -> None:
        """config.json, the card and, over all of them, the receipt."""
        module = forward.model
        dtype = str(introspect.dtype(module)).removeprefix("torch.")
        described = library_files.write(self.identity, module, folder) or documents.config(
            self.identity,
            factory=self.options.factory,
            head=self.options.head,
            dtype=dtype,
            inputs=made.inputs,
        )
        documents.write_json(folder / "config.json", described)
        self.section = replace(
            self.section,
            route=made.route.name,
            opset=made.opset,
            inputs=tuple(GraphInput(i["name"], i["dtype"], tuple(i["shape"])) for i in made.inputs),
            outputs=tuple(forward.outputs),
            signature=forward.signature.json(),
            derived=made.derived,
        )
        text = documents.card(
            self.identity,
            name,
            self.proofs,
            {
                "dtype": dtype,
                "library": library_files.library(self.identity, module),
                "task": library_files.task(self.identity, module),
                "opset": made.opset,
                "route": made.route.name,
                "inputs": made.inputs,
                "outputs": forward.outputs,
                "weight_files": sorted(p.name for p in folder.glob("*.safetensors")),
                "notes": self.notes,
                "domain": self.section.domain or (),
            },
        )
        (folder / "README.md").write_text(text, "utf-8", newline="\n")
        conversion = {
            **to_json(self.section),
            "attempts": [{"route": a.route, "why": a.why} for a in self.attempts],
            "notes": self.notes,
            "recorded": introspect.recorded(self.answered[1] if self.answered else ()),
        }
        document = documents.receipt(
            self.identity, folder, self.source_sha256, self.proofs, conversion
        )
        documents.write_json(folder / bundle.RECEIPT, document)

    @property
    def of_part(self) -> str:
        """ ", of model.encoder alone": a graph of a part is not said to be of the whole."""
        part = (self.section.signature or {}).get("part")
        return f", of {part} alone" if part else ""

    @property
    def of_sizes(self) -> str:
        """ ", at the sizes that were tried": between them nothing is proved where a trace says
        nothing of sizes."""
        gaps = any(axis.gaps for axis in self.section.domain or ())
        return ", at the sizes that were tried" if gaps else ""

    def report(self, target: Path | None, files: dict[str, int] | None = None) -> Report:
        """The report as things stand; `target` is the bundle, or None where there is none."""
        wall, cpu = perf_counter() - self.start[0], process_time() - self.start[1]
        names = {p.name for p in self.proofs}
        bad = [p for p in self.proofs if not p.holds]
        if target is not None:
            count = len(self.proofs)
            of = self.identity.of_assumed
            of = f",{of}" if of else ""
            summary = f"{target}: {count} of {count} proofs hold{of}{self.of_part}{self.of_sizes}"
        else:
            summary = f"no bundle: {bad[0].name} does not hold"
        manifest = self.identity.manifest
        given = describe(InputRole.CHECKPOINT, self.identity)
        # By this hash the gate knows whose export it is.
        digest = manifest.content_sha256 or self.source_sha256 or None
        given = replace(given, facts={**given.facts, "content_sha256": digest})
        case = Case(
            proofs=tuple(self.proofs), assumptions=self.identity.assumptions,
            measurements=self.measurements,
        )  # fmt: skip
        findings, _ = run_rules(case)
        return Report(
            command="export",
            outcome=Answer.YES if target is not None else Answer.NO,
            summary=summary,
            inputs=(given,),
            findings=findings,
            proofs=tuple(sorted(self.proofs, key=_place_of)),
            measurements=self.measurements,
            skipped=tuple(
                Skipped(name, f"{bad[0].name} does not hold")
                for name in PROOFS
                if name not in names and bad
            ),
            environment=documents.environment() | {"device": self.options.device},
            details=replace(
                self.section,
                bundle=str(target) if target is not None else None,
                files=files or {},
                attempts=tuple(self.attempts),
                route_budget_seconds=routes.seconds(self.forward) if self.forward else None,
                notes=tuple(self.notes),
                conversion_seconds=wall - self.proving[0],
                conversion_cpu_seconds=cpu - self.proving[1],
                proof_seconds=self.proving[0],
                proof_cpu_seconds=self.proving[1],
            ),
        )


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Python's cycle collector stands still: it would walk the exporter's many small objects again
    and again, a tenth of the whole time, and find next to nothing to free."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            gc.enable()


def export(
    identity: Identity,
    out: str | Path,
    options: ExportOptions | None = None,
    *,
    samples: Samples | None = None,
    progress: Progress | None = None,
) -> Report:
    """Writes the bundle folder `out` and reports the proofs.

    `options` say how the module is built and proved, and what is wanted beside the bundle.
    `samples` are real inputs for the proofs, ten or more to have each used once; without them
    those of `options.data`. `progress` is told each step.

    The report's outcome is YES with the bundle written, or NO with nothing written and the proof
    that failed among `proofs`; proofs that were then not made are in `skipped`. `details` holds
    `route`, `attempts` (routes given up, and why), `opset`, `inputs`, `outputs`, `files` (bytes),
    `derived`, `conversion_seconds` and `proof_seconds` with their CPU times, and `notes`; with
    `explain`, `departure`. Raises InteropError where `out` is taken or cannot be written,
    ModelError where no module can be built or run, and DeviceMissing.
    """
    return exported(identity, out, options, samples=samples, progress=progress)[0]


def exported(
    identity: Identity,
    out: str | Path,
    options: ExportOptions | None = None,
    *,
    samples: Samples | None = None,
    progress: Progress | None = None,
) -> tuple[Report, ExportRun]:
    """What `export` does, and the run itself, whose `forward` is the module that was proved."""
    options = options or ExportOptions()
    if options.factory is None:
        identity = as_built(identity, options.arch, strict=options.strict)
    target = Path(out)
    bundle.check_target(target, options.force)
    if Path(identity.manifest.file).resolve().is_relative_to(target.resolve()):
        what = "holds the very weights that are to be exported"
        raise InteropError(what, where=str(target), fix="give another name with -o")
    require_torch_device(options.device)
    data = artifacts.open_samples(options.data, identity)
    artifacts.check(options, data, identity)
    if samples is None and data is not None:
        samples = artifacts.samples(data, identity, SAMPLES)
    run = ExportRun(identity, options, progress or (lambda step: None), samples)
    return _run(run, data, target), run


def _run(run: ExportRun, data: artifacts.Data | None, target: Path) -> Report:
    module = run.module()
    if not run.proofs[0].holds:
        return run.report(None)
    forward, feed = run.prepare(module)
    if not run.proofs[0].holds:
        return run.report(None)
    with Staging(target, "give another place with -o", folder=True) as staging:
        converted = run.convert(forward, feed, staging.path)
        if converted is None:
            if run.options.explain:
                run.explain(forward, feed, target)
            return run.report(None)
        if not run.add(data, forward, staging.path):
            return run.report(None)
        run.compare_inputs(data, forward)
        run.write_documents(staging.path, target.name, forward, converted)
        run.progress("putting the bundle in its place")
        folder = staging.path
        files = {name: (folder / name).stat().st_size for name in documents.files_of(folder)}
        bundle.check_target(target, run.options.force)  # it may have come meanwhile
        staging.commit()
    run.folder = target
    return run.report(target, files)


def _place_of(proof: Proof) -> int:
    return PROOFS.index(proof.name) if proof.name in PROOFS else len(PROOFS)
