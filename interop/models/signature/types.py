"""The inputs of a forward as facts, and numbers drawn for them, always the same ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from interop.errors import ConfigError
from interop.facts import Json
from interop.models.signature.calling import PATH

Arrays = dict[str, NDArray[Any]]
BATCH = "batch"
SIDES = ("height", "width")
# What a module gives one of for each picture, instead of one for each row of a tensor.
DETECTIONS = "detections"
_SEED = 0
_FORM = re.compile(rf"(?:(?P<name>{PATH})[:=])?(?P<dtype>[a-z]+\d*)\((?P<axes>[^()]*)\)")
_FLOATS = ("float32", "float16", "bfloat16", "float64")
_WHOLE = ("int64", "int32", "bool", "uint8")


@dataclass(frozen=True, slots=True)
class Argument:
    """One input of a forward.

    `axes` has a number for each axis of a fixed size, and a name for each that may vary. `dtype`
    float32 stands for the floating-point type that the module has. `draw` says what seeded numbers
    are like: "normal", "unit" (0 to 1), "whole" (from `low` up to, not including, `high`), "mask"
    (ones, and zeros at the end of some rows), "rows" (true and false, both of them in each row),
    "zeros". Each row of whole numbers ends with `end`, where one is given: some classifiers look
    for it. `within` is a named axis whose size bounds them instead of `high` (lengths), and
    `falling` sorts them. `path` is where in the forward's arguments the input goes, if its name
    does not say so ("batch.image").
    """

    name: str
    axes: tuple[int | str, ...]
    dtype: str = "float32"
    draw: str = "normal"
    low: int = 0
    high: int = 2
    end: int | None = None
    within: str = ""
    falling: bool = False
    path: str = ""

    def shape(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        return tuple(a if isinstance(a, int) else sizes[a] for a in self.axes)


@dataclass(frozen=True, slots=True)
class Signature:
    """What a forward takes, in its order, and how it is called.

    `sizes` are those of an example for each named axis but the batch's, `others` further sizes that
    an export is tried at. `part` is the submodule that is called instead of the module ("" is
    itself). `by_name` passes arguments as keywords. `kind` is "detections" where the module takes
    a list of pictures and gives a set of boxes for each: one picture is then the whole input.
    `leave` are outputs, by name, that are no answer of the model's (caches). `assumed` says that no
    file states the sizes, and that the module takes others as well.
    """

    arguments: tuple[Argument, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, int] = field(default_factory=dict)
    part: str = ""
    by_name: bool = False
    kind: str = ""
    leave: tuple[str, ...] = ()
    role: str = ""
    assumed: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(a.name for a in self.arguments)

    def __str__(self) -> str:
        """ "float32 (batch, 3, 224, 224)", one for each input."""
        return ", ".join(f"{a.dtype} ({', '.join(map(str, a.axes))})" for a in self.arguments)

    @property
    def varying(self) -> tuple[str, ...]:
        """The named axes, the batch's apart."""
        named = (x for a in self.arguments for x in a.axes if isinstance(x, str) and x != BATCH)
        return tuple(dict.fromkeys(named))

    @property
    def batched(self) -> bool:
        return any(BATCH in a.axes for a in self.arguments)

    def json(self) -> dict[str, Json]:
        """The signature as a receipt has it."""
        return {**asdict(self), "arguments": [asdict(a) for a in self.arguments]}

    @classmethod
    def from_json(cls, stated: Mapping[str, Json]) -> Self:
        """What `json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        arguments = tuple(Argument(**{**a, "axes": tuple(a["axes"])}) for a in stated["arguments"])
        rest = {**stated, "arguments": arguments, "leave": tuple(stated.get("leave", ()))}
        return cls(**rest)

    def fixed(self, *axes: str) -> Signature:
        """The same with some axes held at their example's size."""

        def hold(axis: int | str) -> int | str:
            return self.sizes[axis] if isinstance(axis, str) and axis in axes else axis

        arguments = tuple(replace(a, axes=tuple(hold(x) for x in a.axes)) for a in self.arguments)
        return replace(self, arguments=arguments)


def drawn(
    signature: Signature, count: int, sizes: Mapping[str, int] | None = None, seed: int = _SEED
) -> Arrays:
    """Seeded inputs of a batch of `count`; `sizes` replaces the example's sizes of named axes."""
    known = {**signature.sizes, BATCH: count, **(sizes or {})}
    random = np.random.default_rng(seed)
    return {a.name: _draw(_bounded(a, known), a.shape(known), random) for a in signature.arguments}


def padded(signature: Signature, arrays: Arrays, ones: bool) -> Arrays:
    """The same inputs, their rows of whole numbers or flags padded at the end: flags with `ones` or
    zeros, numbers with the lowest."""
    changed = dict(arrays)
    for argument in signature.arguments:
        array = arrays[argument.name]
        if argument.draw in ("whole", "rows") and array.ndim > 1 and argument.axes[0] == BATCH:
            changed[argument.name] = array = array.copy()
            fill = argument.low if argument.draw == "whole" else ones
            for row in range(len(array)):
                array[row, ..., array.shape[-1] - row % max(array.shape[-1] // 2, 1) - 1 :] = fill
    return changed


def seeded(shape: Sequence[int], count: int = 10) -> NDArray[np.float32]:
    """`count` inputs of `shape` (without the batch axis), standard normal, always the same."""
    numbers = np.random.default_rng(_SEED).standard_normal((count, *shape), dtype=np.float32)
    return np.ascontiguousarray(numbers)


def stacked(real: Mapping[str, NDArray[Any]], signature: Signature, rows: Sequence[int]) -> Arrays:
    """Some of the real samples (n, ...) of each input, begun anew where they end.

    A model of single pictures takes the first row as it is, without a batch axis.
    """
    arrays = {}
    for argument in signature.arguments:
        array = real[argument.name]
        picks = [i % len(array) for i in rows]
        chosen = array[picks] if BATCH in argument.axes else array[picks[0]]
        arrays[argument.name] = np.ascontiguousarray(chosen)
    return arrays


def parse_argument(text: str, place: int = 0) -> tuple[Argument, dict[str, int]]:
    """ "tokens=int64(batch,sequence:16)" -> the argument, and the sizes that it gives named axes.

    A whole number may be told its range by "int64<1000(…)". Without
    a name in front it is called "input". Raises ConfigError.
    """
    bound = re.search(r"<(\d+)", text)
    plain = text.replace(bound[0], "") if bound else text
    match = _FORM.fullmatch(plain.replace(" ", ""))
    fix = "write NAME=DTYPE(axis,axis,…): tokens=int64<1000(batch,sequence:16), "
    fix += "input=float32(batch,3,224,224)"
    if match is None:
        raise ConfigError("describes no input", where=f"--input {text}", fix=fix)
    given = match["dtype"]
    dtype = {"float": "float32", "int": "int64", "long": "int64"}.get(given, given)
    if dtype not in (*_FLOATS, *_WHOLE):
        raise ConfigError(f"{dtype} is no type of an input", where=f"--input {text}", fix=fix)
    axes: list[int | str] = []
    sizes: dict[str, int] = {}
    for axis in filter(None, match["axes"].split(",")):
        name, _, size = axis.partition(":")
        if not re.fullmatch(r"\d+|[A-Za-z_]\w*", name) or (size and not size.isdecimal()):
            raise ConfigError(f"{axis!r} is no axis", where=f"--input {text}", fix=fix)
        axes.append(int(name) if name.isdecimal() else name)
        if size:
            sizes[name] = int(size)
    name = match["name"] or ("input" if not place else f"input_{place}")
    if dtype in _FLOATS:
        return Argument(name, tuple(axes), "float32"), sizes
    if dtype == "bool":
        return Argument(name, tuple(axes), dtype, "rows"), sizes
    high = int(bound[1]) if bound else 100
    return Argument(name, tuple(axes), dtype, "whole", 0, high), sizes


def _bounded(argument: Argument, sizes: Mapping[str, int]) -> Argument:
    if not argument.within:
        return argument
    return replace(argument, high=argument.low + sizes[argument.within])


def _draw(argument: Argument, shape: tuple[int, ...], random: np.random.Generator) -> NDArray[Any]:
    kind = np.dtype(argument.dtype if argument.dtype not in _FLOATS else "float32")
    values: NDArray[Any]
    if argument.draw == "normal":
        values = random.standard_normal(shape, dtype=np.float32)
    elif argument.draw == "unit":
        values = random.random(shape, dtype=np.float32)
    elif argument.draw == "whole":
        values = random.integers(argument.low, argument.high, shape)
        if argument.end is not None:
            values[..., -1] = argument.end
        if argument.falling:
            values = -np.sort(-values, axis=0)
    elif argument.draw == "rows":
        values = _rows(shape, random)
    elif argument.draw == "mask":
        values = np.ones(shape)
        # Rows of a batch differ in length; the first, and a batch of one, is whole.
        for row in range(1, shape[0]):
            values[row, ..., shape[-1] - row % max(shape[-1] // 2, 1) :] = 0
    else:
        values = np.zeros(shape)
    return np.ascontiguousarray(values.astype(kind))


def _rows(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[Any]:
    """True and false, both in each row: a softmax over a row that is masked as a whole is NaN in
    the module itself, and nothing could be compared. A row of one place is the same in all rows."""
    values = random.integers(0, 2, shape)
    if len(shape) < 2 or not values.size:
        return values
    if shape[-1] == 1:
        return np.full(shape, values.reshape(-1)[0])
    rows = values.reshape(-1, shape[-1])
    place = random.integers(0, shape[-1], len(rows))
    each = np.arange(len(rows))
    rows[each, place], rows[each, (place + 1) % shape[-1]] = 1, 0
    return rows.reshape(shape)
