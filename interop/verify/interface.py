"""The inputs and outputs of an artefact and of its source -> the source as one function of the
artefact's inputs that gives the artefact's outputs.

What only a person can accept (a softmax at the end, a picture of bytes at the start) is written as
a formula: 'probabilities=softmax(logits)'.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from interop.errors import ConfigError, ModelError
from interop.facts import Graph, Port, Preprocessing
from interop.models.signature import BATCH, Argument, Forward, Signature
from interop.models.signature.first_layers import takes_by_name
from interop.models.signature.types import SIDES
from interop.runtimes.base import Array

_FORMULA = re.compile(r"([^=()]+)=((?:\w+\()*)([^()=]+)(\)*)")
_KINDS = {"float32": "normal", "float16": "normal", "float64": "normal"}
_SIZE = 16  # of an axis that nobody gave one
_CLOSE = 1e-3  # of the largest: enough to know a function by, and no proof
Step = Callable[[torch.Tensor, Preprocessing | None], torch.Tensor]


def _normalized(x: torch.Tensor, how: Preprocessing | None) -> torch.Tensor:
    if how is None:
        what = "no file states the mean and standard deviation that normalize() takes"
        raise ConfigError(what, where="--map-input", fix="state them with --preprocess")
    mean, std = (torch.tensor(v, dtype=x.dtype).reshape(-1, 1, 1) for v in (how.mean, how.std))
    return (x - mean) / std


def _floating(x: torch.Tensor) -> torch.Tensor:
    return x if x.is_floating_point() else x.to(torch.get_default_dtype())


def _class_axis(x: torch.Tensor) -> int:
    """Classes stand along the last axis of rows and of sequences, along axis 1 of maps."""
    return -1 if x.ndim < 4 else 1


INPUTS: Mapping[str, Step] = {
    "nchw": lambda x, _: x.permute(0, 3, 1, 2),
    "nhwc": lambda x, _: x.permute(0, 2, 3, 1),
    "scale": lambda x, how: _floating(x) * (how.scale if how is not None else 1 / 255),
    "normalize": _normalized,
    "bgr": lambda x, _: x.flip(1),
    "float": lambda x, _: _floating(x),
}
OUTPUTS: Mapping[str, Step] = {
    "softmax": lambda x, _: x.softmax(_class_axis(x)),
    "log_softmax": lambda x, _: x.log_softmax(_class_axis(x)),
    "sigmoid": lambda x, _: x.sigmoid(),
    "argmax": lambda x, _: x.argmax(_class_axis(x)),
    "squeeze": lambda x, _: x.squeeze(-1),
    "nhwc": lambda x, _: x.permute(0, 2, 3, 1),
}


@dataclass(frozen=True, slots=True)
class Formula:
    """One tensor made of another, `of`, by functions from the innermost to the outermost."""

    of: str
    steps: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "".join(f"{s}(" for s in reversed(self.steps)) + self.of + ")" * len(self.steps)


def formulas(texts: Sequence[str], flag: str, known: Mapping[str, Step]) -> dict[str, Formula]:
    """ "a=f(g(b))" -> {a: b by g, then by f}. Raises ConfigError."""
    made: dict[str, Formula] = {}
    for text in texts:
        match = _FORMULA.fullmatch(text.replace(" ", ""))
        steps = tuple(reversed(match[2].split("(")[:-1])) if match else ()
        if match is None or len(match[4]) != len(steps) or not set(steps) <= set(known):
            fix = f"write NAME=NAME or NAME=function(NAME), of {', '.join(known)}"
            raise ConfigError(f"{text!r} is no map", where=flag, fix=fix)
        made[match[1]] = Formula(match[3], steps)
    return made


class Matched(Forward):
    """The source's module, called as the artefact is: the same inputs, the same outputs.

    `signature` is in the artefact's names; `fed` has a formula for each input of `source`, `given`
    one for each output, in the artefact's order.
    """

    def __init__(
        self, source: Forward, signature: Signature, fed: Mapping[str, Formula],
        given: Mapping[str, Formula], how: Preprocessing | None,
    ) -> None:  # fmt: skip
        super().__init__(source.model, signature)
        self._source = (source,)  # in a tuple: its weights are those of `model` already
        self.fed, self.given, self.how = dict(fed), dict(given), how
        self.outputs = tuple(given)

    @property
    def source(self) -> Forward:
        return self._source[0]

    def feeds(self, given: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The source's inputs, in its order."""
        there = dict(zip(self.signature.names, given, strict=True))
        return [_made(self.fed[n], there, INPUTS, self.how) for n in self.source.signature.names]

    def answers(self, given: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """All that the source gives, by the source's own names."""
        return dict(zip(self.source.outputs, self.source(*self.feeds(given)), strict=True))

    def call(self, given: tuple[torch.Tensor, ...]) -> dict[str, torch.Tensor]:
        answers = self.answers(given)
        return {n: _made(f, answers, OUTPUTS, self.how) for n, f in self.given.items()}

    def forward(self, *given: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(self.call(given).values())


def _made(
    formula: Formula, there: Mapping[str, torch.Tensor], known: Mapping[str, Step],
    how: Preprocessing | None,
) -> torch.Tensor:  # fmt: skip
    value = there[formula.of]
    for step in formula.steps:
        value = known[step](value, how)
    return value


# ---------------------------------------------------------------- the inputs


def unprepared(ports: Sequence[Port], said: Mapping[str, Formula]) -> tuple[Port, ...]:
    """The artefact's inputs as the source has them, where formulas make these of those."""
    made = {f.of: (name, f) for name, f in said.items()}
    plain = []
    for port in ports:
        name, formula = made.get(port.name, (port.name, Formula(port.name)))
        shape = port.shape
        if "nchw" in formula.steps and len(shape) == 4:
            shape = (shape[0], shape[3], shape[1], shape[2])
        plain.append(Port(name, "float32" if formula.steps else port.dtype, shape))
    return tuple(plain)


def source_signature(takes: Signature, ports: Sequence[Port], model: Any) -> Signature:
    """What the source is to be called with, as the artefact has it: inputs that the artefact lacks
    are left to their defaults, and those that only the artefact has are added, if the source's
    forward knows their names."""
    names = {p.name for p in ports}
    if not takes.by_name or len(takes.arguments) == len(ports) == 1:
        return takes
    known = set(takes.names)
    kept = [a for a in takes.arguments if a.name in names]
    further = set(takes_by_name(model)) - known
    by_name = {p.name: p for p in ports}
    # The artefact has names of its own for axes; those that are the source's are called alike.
    axes = {
        there: str(axis) for a in kept
        for axis, there in zip(a.axes, by_name[a.name].shape, strict=False)
        if isinstance(axis, str) and isinstance(there, str)
    }  # fmt: skip
    added = [_argument(p, axes) for p in ports if p.name in further]
    if not kept and not added:
        return takes
    named = {x for a in added for x in a.axes if isinstance(x, str) and x != BATCH}
    sizes = {**dict.fromkeys(named, _SIZE), **takes.sizes}
    others = {**dict.fromkeys(named, _SIZE + _SIZE // 2), **takes.others}
    return replace(takes, arguments=(*kept, *added), sizes=sizes, others=others)


def _argument(port: Port, names: Mapping[str, str]) -> Argument:
    axes = tuple(
        axis if isinstance(axis, int) else BATCH if not i else names.get(axis, str(axis))
        for i, axis in enumerate(port.shape)
    )
    if port.dtype in _KINDS:
        return Argument(port.name, axes)
    if "mask" in port.name or port.dtype == "bool":
        return Argument(port.name, axes, port.dtype, "mask")
    return Argument(port.name, axes, port.dtype, "whole", 0, 2)


def pair_inputs(
    takes: Signature, ports: Sequence[Port], said: Mapping[str, Formula], where: str
) -> dict[str, Formula]:
    """A formula for each input of the source: what a person said, else by name, else by order
    where both have as many. Raises ConfigError where they cannot be matched."""
    names = [p.name for p in ports]
    lacking = [f.of for f in said.values() if f.of not in names]
    unknown = [n for n in said if n not in takes.names]
    if lacking or unknown:
        what = (
            f"{(lacking or unknown)[0]!r} is no input of the {'artefact' if lacking else 'source'}"
        )
        fix = f"the source takes {', '.join(takes.names)}; the artefact {', '.join(names)}"
        raise ConfigError(what, where="--map-input", fix=fix)
    fed = {n: said.get(n) or Formula(n) for n in takes.names if n in said or n in names}
    left = [n for n in takes.names if n not in fed]
    free = [n for n in names if n not in {f.of for f in fed.values()}]
    if len(left) == len(free):
        by_name = {a.name: a for a in takes.arguments}
        by_port = {p.name: p for p in ports}
        fits = all(
            _kind(by_name[a].dtype) == _kind(by_port[b].dtype)
            and len(by_name[a].axes) == len(by_port[b].shape)
            for a, b in zip(left, free, strict=True)
        )
        if fits or len(left) == 1:
            return fed | {a: Formula(b) for a, b in zip(left, free, strict=True)}
    if not left and not free:
        return fed
    what = f"its inputs ({', '.join(names)}) cannot be matched to the source's "
    what += f"({', '.join(takes.names)})"
    example = f"{(left or list(takes.names))[0]}={(free or names or ['…'])[0]}"
    fix = f"say which is which with --map-input {example}, or describe the source's with --input"
    raise ConfigError(what, where=where, fix=fix)


def _kind(dtype: str) -> str:
    """Whether numbers are whole or not; integers of any width are one kind."""
    return "float" if "float" in dtype else "whole"


def fed_signature(
    takes: Signature, ports: Sequence[Port], fed: Mapping[str, Formula], *, described: bool
) -> Signature:
    """The artefact's inputs as what is fed, in its order and names.

    An axis that the artefact has a number for has that size. One that it leaves open has the
    source's name for it; where the source has a number, a name of its own, unless a person
    `described` the source's inputs.
    """
    by_name = {p.name: p for p in ports}
    sizes, others = dict(takes.sizes), dict(takes.others)
    arguments: dict[str, Argument] = {}
    for argument in takes.arguments:
        formula = fed[argument.name]
        port = by_name[formula.of]
        if formula.steps:
            arguments[port.name] = _prepared(argument, port, formula, sizes, others)
            continue
        axes: list[int | str] = []
        for place, axis in enumerate(argument.axes):
            there = port.shape[place] if place < len(port.shape) else axis
            if isinstance(there, int) and axis != BATCH:
                axes.append(there)
            elif isinstance(axis, int) and not isinstance(there, int) and not described:
                axes.append(_opened(argument, place, axis, there, sizes, others))
            else:
                axes.append(axis)
        dtype = argument.dtype if _kind(argument.dtype) == "float" else port.dtype
        arguments[port.name] = replace(
            argument, name=port.name, axes=tuple(axes), dtype=dtype or argument.dtype, path=""
        )
    order = [p.name for p in ports if p.name in arguments]
    return replace(
        takes, arguments=tuple(arguments[n] for n in order), sizes=sizes, others=others,
        part="", leave=(), by_name=False,
    )  # fmt: skip


def _opened(
    argument: Argument, place: int, size: int, there: Any, sizes: dict[str, int],
    others: dict[str, int],
) -> str:  # fmt: skip
    """A name for an axis that only the artefact leaves open, and sizes to try."""
    if not place:
        name = BATCH
    elif len(argument.axes) == 4 and place > 1:
        name = SIDES[place - 2]
    else:
        name = re.sub(r"\W", "_", str(there or f"{argument.name}_axis_{place}"))
    sizes[name], others[name] = size, size + max(size // 2, 1)
    return name


def _prepared(
    argument: Argument, port: Port, formula: Formula, sizes: dict[str, int], others: dict[str, int]
) -> Argument:
    """What is fed where the source's input is computed of the artefact's: a picture, mostly."""
    turned = "nchw" in formula.steps
    order = (0, 2, 3, 1) if turned else range(len(argument.axes))
    axes: list[int | str] = []
    for i, place in enumerate(order):
        axis = argument.axes[place]
        there = port.shape[i] if i < len(port.shape) else axis
        axes.append(there if isinstance(there, int) and axis != BATCH else axis)
    if port.dtype == "uint8":
        return Argument(port.name, tuple(axes), "uint8", "whole", 0, 256)
    if "scale" in formula.steps:
        return Argument(port.name, tuple(axes), "float32", "whole", 0, 256)
    draw = "unit" if "normalize" in formula.steps else "normal"
    return Argument(port.name, tuple(axes), "float32", draw)


# ---------------------------------------------------------------- the outputs


def pair_outputs(
    answers: Mapping[str, Array], given: Mapping[str, Array], said: Mapping[str, Formula],
    where: str,
) -> dict[str, Formula]:  # fmt: skip
    """A formula for each output of the artefact: what a person said, else by name, else in order
    of those that are left and have one shape. `answers` are the source's, `given` the artefact's,
    both for one input. Raises ConfigError for names that are none, ModelError where an output has
    no counterpart."""
    lacking = [f.of for f in said.values() if f.of not in answers]
    unknown = [n for n in said if n not in given]
    if lacking or unknown:
        what = (
            f"{(lacking or unknown)[0]!r} is no output of the {'source' if lacking else 'artefact'}"
        )
        fix = f"the source gives {', '.join(answers)}; the artefact {', '.join(given)}"
        raise ConfigError(what, where="--map-output", fix=fix)
    made = {n: said.get(n) or Formula(n) for n in given if n in said or n in answers}
    left = [n for n in answers if n not in {f.of for f in made.values()}]
    free = [n for n in given if n not in made]
    if len(left) == len(free):
        return {n: made.get(n) or Formula(left[free.index(n)]) for n in given}
    for name in free:
        fits = [n for n in left if answers[n].shape == given[name].shape]
        if len(fits) != 1 and not (fits and len(free) == 1):
            continue
        made[name] = Formula(fits[0])
        left.remove(fits[0])
    if unmatched := [n for n in given if n not in made]:
        what = f"its output {unmatched[0]} {given[unmatched[0]].shape} is no output of the source "
        what += f"({', '.join(f'{n} {a.shape}' for n, a in answers.items())})"
        fix = f"say what it is with --map-output {unmatched[0]}={next(iter(answers))}"
        raise ModelError(what, where=where, fix=fix)
    return {n: made[n] for n in given}


def recognised(answer: Array, given: Array) -> str | None:
    """The function of an output that an artefact's output is, where it is not that output itself;
    None where it is none of those that are known."""
    if answer.shape == given.shape and _alike(answer, given):
        return None
    tensor = torch.from_numpy(np.ascontiguousarray(answer))
    for name in ("softmax", "log_softmax", "sigmoid", "argmax", "squeeze"):
        if not tensor.is_floating_point() or not tensor.ndim:
            return None
        value = OUTPUTS[name](tensor, None).numpy()
        keeps = name == "argmax" and value.size == given.size
        if (value.shape == given.shape or keeps) and _alike(value.reshape(given.shape), given):
            return name
    return None


def _alike(a: Array, b: Array) -> bool:
    scale = float(np.abs(a).max(initial=0)) or 1.0
    return bool((np.abs(a.astype(np.float64) - b) <= _CLOSE * scale).all())


def ports_of(graph: Graph | None, arguments: Sequence[Argument]) -> tuple[Port, ...]:
    """The inputs that a file states; of a format that states none, those of the source."""
    if graph is not None and graph.inputs:
        return graph.inputs
    return tuple(Port(a.name, a.dtype, tuple(a.axes)) for a in arguments)
