"""The nouns: frozen records, in the order in which they come about.

path -> Manifest -> Identity -> Pairing -> Finding / Measurement -> Report. Standard library alone;
everything else in the package makes one of these or reads one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import prod
from types import MappingProxyType
from typing import Any

Json = Any  # None, bool, int, float, str, list or dict of these

# Bits of one element; torch's names without the `torch.` in front.
DTYPE_BITS: Mapping[str, int] = MappingProxyType(
    {
        "float64": 64, "float32": 32, "float16": 16, "bfloat16": 16,
        "float8_e4m3fn": 8, "float8_e5m2": 8, "float8_e4m3fnuz": 8, "float8_e5m2fnuz": 8,
        "float8_e8m0fnu": 8, "float4_e2m1fn_x2": 8,
        "int64": 64, "int32": 32, "int16": 16, "int8": 8,
        "uint64": 64, "uint32": 32, "uint16": 16, "uint8": 8, "bool": 8,
        "complex32": 32, "complex64": 64, "complex128": 128,
        "qint8": 8, "quint8": 8, "qint32": 32, "quint4x2": 4, "quint2x4": 2,
        "int4": 4, "uint4": 4, "string": 0,
    }
)  # fmt: skip


# The count that torch.optim.swa_utils.AveragedModel keeps beside its module.
AVERAGED = "n_averaged"
# Leaves of names under which modules keep what they compute of their configuration, and no weight.
WHOLE = ("int64", "int32", "bool")  # never trained: shapes, indices and masks
FEW = 16  # numbers up to which a tensor of a graph may be arithmetic and no weight
_COMPUTED_WORDS = """
num_batches_tracked n_averaged position_ids token_type_ids pos_ids position_index
relative_position_index relative_coords_table rel_pos_indices rel_pos_idx
attention_bias_idxs attn_mask attention_mask causal_mask masked_bias
inv_freq original_inv_freq cos_cached sin_cached
"""
_COMPUTED = frozenset(_COMPUTED_WORDS.split())


class Level(StrEnum):
    """How much a finding weighs."""

    ERROR = "error"
    WARN = "warn"
    NOTE = "note"
    OFF = "off"


class Intent(StrEnum):
    """What a person wants to do with B, given A."""

    RELOAD = "reload"
    TRANSFER = "transfer"
    REPLACE = "replace"


class Answer(StrEnum):
    """The answer to an intent's question."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"
    NA = "n/a"


class Evidence(StrEnum):
    """Where a fact comes from: a file or a person says it, it was measured, or it is assumed."""

    STATED = "stated"
    MEASURED = "measured"
    ASSUMED = "assumed"


class PartKind(StrEnum):
    """What a file of a model's folder is for, besides the weights that are read as the model."""

    CONFIG = "config"
    TOKENIZER = "tokenizer"
    CHAT_TEMPLATE = "chat template"
    PROCESSOR = "processor"
    GENERATION = "generation config"
    MODULE = "module"
    ADAPTER = "adapter"
    CODE = "code"
    LABELS = "labels"
    RECEIPT = "receipt"
    COPY = "other weights"
    UNKNOWN = "unknown"


class Side(StrEnum):
    """Which of two compared models has something."""

    BOTH = "both"
    A = "A"
    B = "B"


# ---------------------------------------------------------------- one file, as it lies on disk


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes that one tensor, or several that are tied, are a view of.

    Two tensors share memory if and only if their storages are equal. `offset` is the byte in
    `file` at which the storage starts, or -1 where the bytes do not lie there as they are
    (compressed). `nbytes` is the storage's size.
    """

    file: str
    key: str
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Stats:
    """What a tensor's values range over.

    NaN and infinities are counted by element; `minimum` and `maximum` are of the finite values, and
    None where there are none, or no order (complex numbers, packed 4-bit numbers). `constant` tells
    that it holds two elements or more, and one value alone. `below` counts those of the infinities
    that are negative.
    """

    nan: int
    inf: int
    minimum: float | None
    maximum: float | None
    constant: bool
    below: int = 0

    @property
    def is_mask(self) -> bool:
        """Whether it holds exactly two values, -inf and one finite number: an attention mask."""
        one = self.minimum is not None and self.minimum == self.maximum
        return one and not self.nan and 0 < self.inf == self.below


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor by name: everything but its values.

    `offset` and `stride` count elements within the storage; a stride of None is row-major.
    `storage` is None where no file holds the bytes (a meta tensor), or where `parts` do: the plain
    tensors that hold one which is no run of strided bytes itself. `layout` says how: "strided",
    "sparse_coo" and torch's other sparse layouts (indices and values), "jagged" (nested; its shape
    is that of its values), "sharded" (pieces, each named by the place where it begins, "0,128"),
    "shard" (one rank's piece alone), "subclass" (whatever a tensor subclass keeps). `quantizer` is
    what makes numbers of a quantized tensor's codes, in words ("per_tensor_affine scale 0.1 zero
    point 0"); where it has tensors they are parts.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    storage: Storage | None = None
    offset: int = 0
    stride: tuple[int, ...] | None = None
    conj: bool = False
    neg: bool = False
    layout: str = "strided"
    quantizer: str = ""
    parts: tuple[TensorSpec, ...] = ()
    stats: Stats | None = None

    @property
    def numel(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the values if they were stored densely."""
        return (self.numel * DTYPE_BITS.get(self.dtype, 0) + 7) // 8

    def named(self, name: str) -> TensorSpec:
        """The same under another name; files have tens of thousands, so no field is gone over."""
        return TensorSpec(
            name, self.dtype, self.shape, self.storage, self.offset, self.stride, self.conj,
            self.neg, self.layout, self.quantizer, self.parts, self.stats,
        )  # fmt: skip

    @property
    def has_values(self) -> bool:
        """Whether the file holds all of its values."""
        if self.storage is not None:
            return True
        return self.layout != "shard" and any(part.has_values for part in self.parts)

    @property
    def is_counter(self) -> bool:
        """Whether it is batch normalisation's count of training steps, which is no weight."""
        return self.name.endswith("num_batches_tracked")

    @property
    def is_small(self) -> bool:
        """Whether a graph may hold it as a part of its arithmetic: a few numbers, or whole ones."""
        return self.numel <= FEW or self.dtype in WHOLE

    @property
    def is_buffer(self) -> bool:
        """Whether its name says that its module computes it anew: a counter, an index, a mask."""
        leaf = self.name.rpartition(".")[2]
        # GPT-2's causal mask was once stored as `attn.bias`, one plane a head.
        mask = leaf == "bias" and len(self.shape) == 4 and self.shape[2] == self.shape[3]
        return leaf in _COMPUTED or (mask and self.shape[:2] == (1, 1))


@dataclass(frozen=True, slots=True)
class StateDict:
    """One mapping of names to tensors within a file.

    `place` is where it lies, keys joined by dots: "" for the top level, "state_dict", "ema.module".
    `ordered` tells whether the file keeps the order in which the module defines its tensors
    (safetensors files sort by name and do not). `others` are the keys of the same mapping that hold
    no tensor. `versions` is torch's `_metadata`: what each module's path says of itself
    ({"bn1": {"version": 2}}). `module` is the class of a pickled module, "" for a mapping.
    """

    place: str
    tensors: tuple[TensorSpec, ...]
    ordered: bool = True
    others: tuple[str, ...] = ()
    versions: Mapping[str, Json] = field(default_factory=dict)
    module: str = ""


@dataclass(frozen=True, slots=True)
class Import:
    """A Python name that loading the file would import.

    `danger` is "safe" (rebuilds tensors and plain containers), "refused" (harmless, but not on the
    allow-list of torch.load(weights_only=True), which refuses the file), "code" (a class of
    somebody's, needed to load the file) or "unsafe" (can run a command, or is called without being
    known).
    """

    module: str
    name: str
    danger: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph; an axis is a number, or a name where it is dynamic."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The interface of an ONNX graph. `opsets` maps an operator domain to its version.

    `meanings` says what each output holds, as `interop.reading.formats.onnx_outputs` learns it
    of the last nodes; `computation` is the hash of what it computes with its weights
    (`interop.reading.formats.onnx_computation`). Both are empty for graphs of other formats.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    opsets: Mapping[str, int]
    producer: str = ""
    operators: Mapping[str, int] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    computation: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a model's folder that decides what the deployed model does.

    `path` is its path within the folder, by "/"; `file` is where it is read. `sha256` is None where
    the file was not hashed yet, and where it cannot be read: `fault` then says why.
    """

    path: str
    kind: PartKind
    size: int
    file: str = field(default="", compare=False)
    sha256: str | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Module:
    """One module of a sentence-transformers folder, in the order in which they run.

    `path` is its folder within the model's ("" is the model's own), `type` the class by its dotted
    name, `config` what its config.json holds. `fault` says what of it is missing or cannot be read.
    """

    path: str
    type: str
    config: Mapping[str, Json] = field(default_factory=dict)
    fault: str = ""

    @property
    def name(self) -> str:
        """The class without its package: "Pooling"."""
        return self.type.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Manifest:
    """One model file as facts; no code of the file has run.

    `container` is what the bytes are, one of those in `interop.reading.formats.table`.
    `path` is what was asked for, `file` the file that was read (they differ for a bundle folder);
    `size` counts the bytes of the files in which its tensors lie too (external data, shards).
    `metadata` holds what stands beside the weights (epoch, arch, labels, a safetensors header's
    strings, an ONNX model's properties), as JSON values. `held_aside` names the places of tensors
    that are no weights (an optimizer's state). Of a folder (`is_folder`) `parts` are the other
    files that decide what the model does, `modules` what modules.json chains, and `absent` what its
    own files name and it does not hold.
    """

    path: str
    file: str
    container: str
    size: int
    header_sha256: str
    state_dicts: tuple[StateDict, ...]
    metadata: Mapping[str, Json] = field(default_factory=dict)
    imports: tuple[Import, ...] = ()
    graph: Graph | None = None
    held_aside: tuple[str, ...] = ()
    content_sha256: str | None = None
    is_folder: bool = False
    parts: tuple[Part, ...] = ()
    modules: tuple[Module, ...] = ()
    absent: tuple[str, ...] = ()

    @property
    def pools(self) -> bool:
        """Whether its modules end in embeddings of texts, which need no head and no labels."""
        return any(module.name == "Pooling" for module in self.modules)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that could not be read, and the rule that says why."""

    path: str
    rule: str
    what: str
    fix: str


# ---------------------------------------------------------------- what the file is of


_TASK = re.compile(r"(For[A-Z]\w*|With\w*|LMHeadModel|DoubleHeadsModel|EncoderModel|Model)$")


def family(name: str) -> str:
    """A transformers class without its task: the same for all heads on one backbone."""
    return _TASK.sub("", name)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A module's structure by name; `name` is "library/name", `evidence` how it was learned.

    `share` is the confidence: the part (0 to 1) of the weight bytes outside the heads that this
    architecture has under the same names and in the same shapes. `also` holds other names of the
    very same computation. `sizes` are the config fields of a free-size family that the shapes tell
    ({"hidden_size": 768}); what no shape tells (the number of attention heads) is not in it.
    """

    name: str
    evidence: str
    share: float = 1.0
    also: tuple[str, ...] = ()
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Head:
    """The layers that turn features into the task's outputs.

    `path` is the module that was replaced for the task ("fc", "classifier.1"), `tensors` its
    tensors' names, `kind` "linear", "conv1x1", "conv3x3", "several layers", "tied" (to the input
    embeddings; it has no tensors of its own) or "removed"; `in_width` and `outputs` are the feature
    count it takes and the number of outputs it gives, 0 where that is not known. `role` is what the
    outputs are: "classes", "auxiliary classes", "distillation", "boxes", "masks", "keypoints",
    "token classes", "answer span", "vocabulary", "characters", …; "beside" is a module beside the
    backbone that is not known to be a head (a decoder, another branch, a loss). `takes` is what the
    backbone hands it: "avg" (pooled features), "token" (of a class token), "flat" (a feature map in
    one row), "map" (a feature map), "sequence" (one vector a token); "" where that is not known.
    """

    path: str
    kind: str
    in_width: int
    outputs: int
    tensors: tuple[str, ...]
    evidence: str
    role: str = ""
    takes: str = ""


@dataclass(frozen=True, slots=True)
class Labels:
    """The class names, in the order of the outputs.

    `names` is None where they are unknown; `applicable` is False where the model has none by
    nature (regression, embeddings, an autoencoder), which somebody has to have stated.
    """

    names: tuple[str, ...] | None = None
    source: str = ""
    applicable: bool = True

    @property
    def known(self) -> bool:
        return self.names is not None or not self.applicable


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes the model's input tensor, float32 of shape (N, C, H, W).

    In this order: convert to `color` ("RGB", "BGR" or "L"); resize to `resize` (height, width) or,
    for one number, the shorter side to it, with `interpolation` ("nearest", "bilinear", "bicubic")
    and antialiasing unless `antialias` is False; crop `crop` (height, width) from the centre;
    multiply by `scale`; subtract `mean` and divide by `std`, a number a channel in `color`'s order.
    """

    resize: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: tuple[int, int] | None = None
    color: str = "RGB"
    interpolation: str = "bilinear"
    source: str = field(default="", compare=False)
    scale: float = 1 / 255
    antialias: bool = True
    evidence: Evidence = field(default=Evidence.STATED, compare=False)

    @property
    def kind(self) -> str:
        return "image"

    @property
    def channels(self) -> int:
        return 1 if self.color == "L" else 3

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the model's input; None where it follows the picture's shape."""
        if self.crop:
            return self.crop
        return (self.resize[0], self.resize[1]) if len(self.resize) == 2 else None


@dataclass(frozen=True, slots=True)
class TextPreprocessing:
    """How a text becomes the model's tokens.

    `tokenizer` is the sha256 of the tokenizer's file, `max_length` the number of tokens that a text
    is cut to, `padding` the side that is filled up ("left", "right"), `lowercase` whether the text
    is put into small letters first. None is: not stated.
    """

    tokenizer: str | None = None
    max_length: int | None = None
    padding: str | None = None
    lowercase: bool | None = None
    source: str = field(default="", compare=False)
    evidence: Evidence = field(default=Evidence.STATED, compare=False)

    @property
    def kind(self) -> str:
        return "text"


@dataclass(frozen=True, slots=True)
class AudioPreprocessing:
    """How a sound becomes the model's input.

    `sampling_rate` in samples a second, `mono` whether channels are averaged to one, `normalise`
    whether each sound is brought to mean 0 and variance 1, `window` the length of a window of the
    spectrogram and the step to the next, in samples. None is: not stated, or no spectrogram.
    """

    sampling_rate: int
    mono: bool = True
    normalise: bool | None = None
    window: tuple[int, int] | None = None
    source: str = field(default="", compare=False)
    evidence: Evidence = field(default=Evidence.STATED, compare=False)

    @property
    def kind(self) -> str:
        return "audio"


AnyPreprocessing = Preprocessing | TextPreprocessing | AudioPreprocessing


@dataclass(frozen=True, slots=True)
class Identity:
    """What a manifest is of.

    `place` is the state dict that was chosen, `prefix` what was stripped from its names,
    `tensors` its tensors under the names that remain. `architectures` holds no entry where the
    architecture is unknown, and several where the file cannot tell; `ambiguity` says what does, or
    what the file states that its tensors contradict. `root` is the module within `tensors` that is
    the architecture's own top ("bert", "backbone"; "" where nothing is around it). `runner_up` is
    the closest architecture that is none of them. `side_heads` are heads beside the main one
    (auxiliary, distillation, boxes, masks). `kind` says what the file is where it is no plain model
    ("LoRA adapter", "optimizer state", "quantized state dict"). `preprocessing_fault` says what is
    wrong with a description that the file holds and that could not be understood.
    """

    manifest: Manifest
    place: str
    prefix: str
    tensors: tuple[TensorSpec, ...]
    architectures: tuple[Architecture, ...] = ()
    ambiguity: str = ""
    root: str = ""
    runner_up: Architecture | None = None
    head: Head | None = None
    side_heads: tuple[Head, ...] = ()
    kind: str = ""
    labels: Labels = field(default_factory=Labels)
    preprocessing: AnyPreprocessing | None = None
    preprocessing_fault: str = ""
    values_read: bool = False

    @property
    def image_preprocessing(self) -> Preprocessing | None:
        """How images are prepared; None where that is unknown, or the model takes none."""
        return self.preprocessing if isinstance(self.preprocessing, Preprocessing) else None

    @property
    def state(self) -> StateDict | None:
        """The chosen state dict as the file has it; None for a part of one, and where none is."""
        return next((s for s in self.manifest.state_dicts if s.place == self.place), None)

    @property
    def file_names(self) -> Mapping[str, str]:
        """Each tensor's name here -> its name in the file, wrapper prefixes and all."""
        own = [] if self.state is None else [t.name for t in self.state.tensors]
        own = [name for name in own if name != AVERAGED]
        if len(own) != len(self.tensors):
            return {t.name: self.prefix + t.name for t in self.tensors}
        return {t.name: name for t, name in zip(self.tensors, own, strict=True)}

    @property
    def architecture(self) -> str | None:
        """The architecture's name where there is exactly one candidate."""
        return self.architectures[0].name if len(self.architectures) == 1 else None

    @property
    def backbone(self) -> tuple[TensorSpec, ...] | None:
        """The tensors that are no head's; None where the two cannot be told apart."""
        if self.head is None:
            # A known architecture without a head (BertModel) is a backbone as a whole.
            return self.tensors if self.architectures and not self.side_heads else None
        head = {name for h in (self.head, *self.side_heads) for name in h.tensors}
        return tuple(t for t in self.tensors if t.name not in head)


# ---------------------------------------------------------------- A against B


@dataclass(frozen=True, slots=True)
class Difference:
    """How the values of two tensors of one shape differ.

    `equal` tells that they are the same bit by bit, dtype and quantizer included; `cast` whether B
    holds what A's values round to in B's dtype, None where both have one dtype. `unequal` counts
    the elements that differ. `largest` and `mean` are of |a - b| over the elements that are finite
    in both, `cosine` of the two as vectors; None where nothing can be computed (packed 4-bit
    numbers) or a vector is zero. `scale` is the root mean square of A's finite values.
    """

    equal: bool
    cast: bool | None
    unequal: int
    largest: float | None
    mean: float | None
    cosine: float | None
    scale: float = 0.0


@dataclass(frozen=True, slots=True)
class Pair:
    """A tensor of A and the one of B that takes its place; `step` tells how they were matched.

    `difference` is None where the values were not read, or cannot be compared.
    """

    a: TensorSpec
    b: TensorSpec
    step: str
    difference: Difference | None = None


@dataclass(frozen=True, slots=True)
class Mapped:
    """A tensor of A made of tensors of B that have other names, or another layout.

    `how` is what is done to them, in order, comma-separated; "" is nothing: "reshape" (to A's
    shape), "transpose" (the two axes), "join" (several of B, one after the other along axis 0),
    "rows 0:768" (a part of B along axis 0). `step` tells how they were matched: "prefix", "known
    rename", "structure", "definition order".
    """

    a: TensorSpec
    b: tuple[TensorSpec, ...]
    how: str
    step: str


@dataclass(frozen=True, slots=True)
class RowMatch:
    """Which row of B's head each row of A's is most alike, one to one.

    `in_place` is the mean cosine of rows at the same place, `matched` of those that were matched.
    """

    order: tuple[int, ...]
    in_place: float
    matched: float

    @property
    def moved(self) -> tuple[int, ...]:
        """The rows of A that are more alike a row of B at another place."""
        return tuple(i for i, j in enumerate(self.order) if i != j)


@dataclass(frozen=True, slots=True)
class Pairing:
    """Tensors of A against tensors of B, after the prefixes are off.

    `matched` agree in name and shape, `reshaped` in name alone; `missing` are A's alone and
    `extra` B's alone. `renamed` pairs those of the latter two that hold the same bytes, where the
    values were read. `mapped` says from which of `extra` each of `missing` can be made; it is
    either empty or covers every weight of both backbones. `basis` says what vouches for the map:
    "" is nothing, and the map is unproved. `fills` is the share of A's weight bytes that B gives
    under it, 0 where that is not enough to write B under A's names. `rows` matches the rows of the
    two heads, where the values were read and tell.

    What torch's own hooks do when A's module loads B strictly: `filled` are names of `missing` that
    they fill, `taken` names of `extra` that they use or drop, `resized` names of `reshaped` whose
    shapes they allow. `refused` are keys of B's file that are none of its tensors here and that a
    strict load refuses, `wanted` such keys of A's that it finds missing.
    """

    matched: tuple[Pair, ...]
    reshaped: tuple[Pair, ...]
    missing: tuple[TensorSpec, ...]
    extra: tuple[TensorSpec, ...]
    renamed: tuple[Pair, ...] = ()
    mapped: tuple[Mapped, ...] = ()
    basis: str = ""
    fills: float = 0.0
    rows: RowMatch | None = None
    filled: frozenset[str] = frozenset()
    taken: frozenset[str] = frozenset()
    resized: frozenset[str] = frozenset()
    refused: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()

    @property
    def lacking(self) -> list[str]:
        """What a strict load of B finds missing."""
        return [t.name for t in self.missing if t.name not in self.filled] + list(self.wanted)

    @property
    def unexpected(self) -> list[str]:
        """What a strict load of B refuses as unexpected."""
        return [t.name for t in self.extra if t.name not in self.taken] + list(self.refused)


class AxisState(StrEnum):
    """How far an axis of an exported graph may go.

    "open": wherever the module itself runs, the graph is the same. "restricted": the graph is the
    module at some sizes alone. "fixed": at one size alone.
    """

    OPEN = "open"
    RESTRICTED = "restricted"
    FIXED = "fixed"


@dataclass(frozen=True, slots=True)
class AxisDomain:
    """The sizes of one axis of one input at which a graph was shown to be its module.

    `axis` counts from 0; `name` is "" for an axis that has none. From `min` to `max` (None: no end
    is known) in multiples of `multiple_of`, equal or never equal to another axis by name. `tried`
    are the sizes that were seen to hold; `why` says what keeps it from more. `gaps` says that the
    sizes between those tried are assumed: nothing told where the module may go another way.
    """

    input: str
    axis: int
    name: str
    state: AxisState
    min: int | None = None
    max: int | None = None
    multiple_of: int | None = None
    equal_to: str | None = None
    not_equal_to: str | None = None
    tried: tuple[int, ...] = ()
    why: str = ""
    gaps: bool = False

    def json(self) -> dict[str, Json]:
        """The axis as a receipt has it."""
        return {
            "input": self.input, "axis": self.axis, "name": self.name, "state": str(self.state),
            "min": self.min, "max": self.max, "multiple_of": self.multiple_of,
            "equal_to": self.equal_to, "not_equal_to": self.not_equal_to,
            "tried": list(self.tried), "why": self.why, "gaps": self.gaps,
        }  # fmt: skip

    @classmethod
    def from_json(cls, stated: Mapping[str, Json]) -> AxisDomain:
        """What `json` gave. Raises KeyError, TypeError or ValueError for anything else."""
        if not isinstance(stated, Mapping):
            raise TypeError("an axis is no object")
        rest = {"why": "", **stated, "state": AxisState(stated["state"])}
        rest["tried"] = tuple(stated["tried"])
        made = cls(**rest)
        sizes = (made.min, made.max, made.multiple_of, *made.tried)
        if any(n is not None and (type(n) is not int or n < 1) for n in sizes):
            raise ValueError(f"a size of {made.name or 'an axis'} is no positive number")
        if made.min is not None and made.max is not None and made.max < made.min:
            raise ValueError(f"{made.name or 'an axis'} ends before it begins")
        return made

    def refuses(self, size: int, sizes: Mapping[str, int]) -> str:
        """Why an input of this size is outside; "" if it is not. `sizes` are those of all axes."""
        what = f"{self.name or f'axis {self.axis}'} is {size}; the graph was proved"
        if size < (self.min or size) or size > (self.max or size):
            bounds = f"{self.min} to {self.max}" if self.max else f"{self.min} or more"
            wanted = str(self.min) if self.min == self.max else bounds
            return f"{what} for {wanted}"
        if self.multiple_of and size % self.multiple_of:
            return f"{what} for multiples of {self.multiple_of}"
        if self.equal_to and size != sizes.get(self.equal_to, size):
            return f"{what} where it equals {self.equal_to}"
        if self.not_equal_to and size == sizes.get(self.not_equal_to):
            return f"{what} where it differs from {self.not_equal_to}"
        return ""

    def words(self) -> str:
        """The sizes in words: "multiples of 4, 20 or more; 20 to 64 tried"."""
        if self.state is AxisState.FIXED:
            return f"fixed at {self.min}"
        parts = []
        if self.multiple_of:
            parts.append(f"multiples of {self.multiple_of}")
        if self.max is not None:
            parts.append(f"{self.min} to {self.max}")
        elif (self.min or 1) > 1:
            parts.append(f"{self.min} or more")
        if self.equal_to:
            parts.append(f"equal to {self.equal_to}")
        if self.not_equal_to:
            parts.append(f"not equal to {self.not_equal_to}")
        ends = sorted({self.tried[0], self.tried[-1]}) if self.tried else []
        seen = f" ({' to '.join(map(str, ends))} tried)" if ends else ""
        if self.gaps:
            seen = f" ({', '.join(map(str, self.tried))} tried; sizes between them are assumed)"
        return f"{self.state}{': ' * bool(parts)}{', '.join(parts)}{seen}"


def outside(domain: Sequence[AxisDomain], shapes: Mapping[str, Sequence[int]]) -> str:
    """Why inputs of these shapes, by name, are outside of a domain; "" where they are inside."""
    sizes = {
        (d.input, d.axis): shapes[d.input][d.axis]
        for d in domain
        if d.input in shapes and d.axis < len(shapes[d.input])
    }
    named = {d.name: sizes[d.input, d.axis] for d in domain if (d.input, d.axis) in sizes}
    for d in domain:
        size = sizes.get((d.input, d.axis))
        if size is not None and (why := d.refuses(size, named)):
            return f"{d.input}: {why}"
    return ""


@dataclass(frozen=True, slots=True)
class PartChange:
    """One thing in which a part of B is not A's.

    `field` is what differs within the file ("num_attention_heads", "vocabulary", by dots where it
    is nested); "" is the file as a whole, of which no more is known than that its bytes differ,
    or that one side alone has it. `side` says who has the field, or the file. `a` and `b` are the
    two values (None where it is absent). `why` says why a file could not be compared.
    """

    path: str
    kind: PartKind
    field: str = ""
    side: Side = Side.BOTH
    a: Json = None
    b: Json = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """A's parts against B's: how they differ, and the kinds of which every file is the same."""

    changes: tuple[PartChange, ...] = ()
    same: frozenset[PartKind] = frozenset()


# The proofs of an export, in the order in which they are made; it counts where all of them hold.
PROOFS = ("loaded fraction", "same weights", "parity", "canary", "structure")


@dataclass(frozen=True, slots=True)
class Proof:
    """One of the proofs of an export: does it hold, the sentence that says so, and the figures."""

    name: str
    holds: bool
    what: str
    facts: Mapping[str, Json] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measured quantity: raw samples, the figure made of them, and the conditions.

    `unit` is "ms", "bytes", "ratio", "share" (0 to 1), "points" (a difference of shares), "count",
    "abs" (in the outputs' own unit), "p" (a probability), "per second" or "s" (seconds). `interval`
    is the 95 % interval of `value`. `samples` are in the order in which they were taken.
    """

    name: str
    unit: str
    value: float | None
    interval: tuple[float, float] | None = None
    samples: tuple[float, ...] = ()
    conditions: Mapping[str, Json] = field(default_factory=dict)


class GapKind(StrEnum):
    """How evidence that a policy asks for is not there: none is, it is of other files or of other
    conditions, or it is too old."""

    MISSING = "missing"
    FOREIGN = "foreign"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class EvidenceGap:
    """Evidence that a policy asks for and that is not there; `why` is for people alone."""

    kind: GapKind
    why: str


@dataclass(frozen=True, slots=True)
class Case:
    """All that a rule may look at; a part that was not asked for is None or empty.

    `b` is the candidate and `a` the baseline it is held against.
    """

    b: Identity | None = None
    a: Identity | None = None
    pairing: Pairing | None = None
    parts: Parts | None = None
    unreadable: tuple[Unreadable, ...] = ()
    proofs: tuple[Proof, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    budgets: Mapping[str, float] = field(default_factory=dict)
    lacking: Mapping[str, EvidenceGap] = field(default_factory=dict)


# ---------------------------------------------------------------- what is said about it


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule's record.

    `breaks` are the intents whose answer a finding changes, to `answer`: NO for a fault, UNKNOWN
    for a fact that is nowhere to be found. `needs` names the parts of a Case without which the rule
    is skipped: "candidate", "pair", "values", "unreadable", "proofs", "measurements", "evidence".
    """

    id: str
    level: Level
    breaks: tuple[Intent, ...]
    needs: tuple[str, ...] = ("candidate",)
    answer: Answer = Answer.NO
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault or gap. `place` is the tensor, key or file; `hint` says what to do."""

    rule: str
    level: Level
    breaks: tuple[Intent, ...]
    answer: Answer
    what: str
    place: str = ""
    hint: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A check that was not made, because."""

    rule: str
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to one intent, and the sentence that gives the reason."""

    intent: Intent
    answer: Answer
    why: str


@dataclass(frozen=True, slots=True)
class Input:
    """A file or data set that a command was given, as one line and as facts."""

    role: str
    path: str
    summary: str
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What a command has to say; every format is a pure function of it.

    `outcome` is the command's one answer, from which the exit code follows: YES 0, NO 1, UNKNOWN 3.
    """

    command: str
    outcome: Answer
    summary: str
    inputs: tuple[Input, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    proofs: tuple[Proof, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    environment: Mapping[str, Json] = field(default_factory=dict)
    details: Mapping[str, Json] = field(default_factory=dict)
    schema: int = 1

    @property
    def exit_code(self) -> int:
        return {Answer.YES: 0, Answer.NA: 0, Answer.NO: 1, Answer.UNKNOWN: 3}[self.outcome]
