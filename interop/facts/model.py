"""One model as facts: the file as it is on disk (`Manifest`), and what it is of (`Identity`)."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from types import MappingProxyType
from typing import Any

from interop.facts.enums import Danger, Evidence, HeadInput, HeadKind, HeadRole, Layout, PartKind
from interop.facts.imprint import NARROW, PHOTO_STD, STATED_WIDE, Imprint, is_wide
from interop.patterns import lazy
from interop.records import dataclass, field

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
WHOLE = ("int64", "int32", "bool")  # never trained: shapes, indices and masks
FEW = 16  # numbers up to which a tensor of a graph may be arithmetic and no weight
# Leaves of names under which modules keep what they compute of their configuration, and no weight.
_COMPUTED_WORDS = """
num_batches_tracked n_averaged position_ids token_type_ids pos_ids position_index
relative_position_index relative_coords_table rel_pos_indices rel_pos_idx
attention_bias_idxs attn_mask attention_mask causal_mask masked_bias
inv_freq original_inv_freq cos_cached sin_cached
"""
_COMPUTED = frozenset(_COMPUTED_WORDS.split())


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
    tensors that hold one which is no run of strided bytes itself. `layout` says how. `quantizer`
    is what makes numbers of a quantized tensor's codes, in words ("per_tensor_affine scale 0.1 zero
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
    layout: Layout = Layout.STRIDED
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
        return self.layout is not Layout.SHARD and any(part.has_values for part in self.parts)

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
class ModuleSpec:
    """One module of a pickled module, as the pickle names it; nothing of it was imported.

    `path` is its name within the whole ("" is the whole), `type` its class by its dotted name,
    `scalars` the numbers and short texts among its own attributes ({"eps": 1e-05}).
    """

    path: str
    type: str
    scalars: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StateDict:
    """One mapping of names to tensors within a file.

    `place` is where it lies, keys joined by dots: "" for the top level, "state_dict", "ema.module".
    `ordered` tells whether the file keeps the order in which the module defines its tensors
    (safetensors files sort by name and do not). `others` are the keys of the same mapping that hold
    no tensor. `versions` is torch's `_metadata`: what each module's path says of itself
    ({"bn1": {"version": 2}}). `module` is the class of a pickled module, "" for a mapping; `tree`
    holds it and each module within it.
    """

    place: str
    tensors: tuple[TensorSpec, ...]
    ordered: bool = True
    others: tuple[str, ...] = ()
    versions: Mapping[str, Json] = field(default_factory=dict)
    module: str = ""
    tree: tuple[ModuleSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Import:
    """A Python name that loading the file would import."""

    module: str
    name: str
    danger: Danger

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Opened:
    """A file or an address that loading or running the model reads, and what reads it."""

    path: str
    by: str

    def __str__(self) -> str:
        shown = self.path if len(self.path) <= 200 else self.path[:199] + "…"
        return f"{shown!r} ({self.by})" if shown else f"a file ({self.by})"


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a graph; an axis is a number, or a name where it is dynamic."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The interface of an ONNX graph. `opsets` maps an operator domain to its version.

    `meanings` says what each output holds, as `interop.reading.formats.onnx_outputs` learns it of
    the last nodes; `computation` is the hash of what it computes with its weights
    (`interop.reading.formats.onnx_computation`); `faults` are sentences on what makes it unsound
    (`interop.reading.formats.onnx_soundness`). All are empty for graphs of other formats.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    opsets: Mapping[str, int]
    producer: str = ""
    operators: Mapping[str, int] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict)
    computation: str = ""
    faults: tuple[str, ...] = ()


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

    `container` is what the bytes are, one of those in `interop.reading.formats`.
    `path` is what was asked for, `file` the file that was read (they differ for a bundle folder);
    `size` counts the bytes of the files in which its tensors lie too (external data, shards).
    `metadata` holds what stands beside the weights (epoch, arch, labels, a safetensors header's
    strings, an ONNX model's properties), as JSON values. `held_aside` names the places of tensors
    that are no weights (an optimizer's state). `opened` are the files and addresses that a value in
    it makes whoever loads or runs it read. Of a folder (`is_folder`) `parts` are the other
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
    opened: tuple[Opened, ...] = ()

    @property
    def channels_last(self) -> bool:
        """Whether its weights have inputs and outputs as their last two axes, as Keras and
        TensorFlow order them; torch has outputs and inputs first."""
        return self.container in ("keras", "hdf5", "saved-model", "tensorflow-checkpoint")

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


_TASK = lazy(r"(For[A-Z]\w*|With\w*|LMHeadModel|DoubleHeadsModel|EncoderModel|Model)$")


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
class Assumption:
    """Something that no file states and that was taken for granted, in the open.

    `fact` is what it is of ("architecture", "input size"), `value` what was taken, `others` what it
    could be as well, `differ` in what they differ, and `why` what speaks for the one taken; `where`
    is the file that it is said of.
    """

    fact: str
    value: str
    others: tuple[str, ...] = ()
    differ: str = ""
    why: str = ""
    where: str = ""

    def json(self) -> dict[str, Json]:
        """The assumption as reports and receipts have it, without the file's path."""
        facts = {"fact": self.fact, "value": self.value, "others": list(self.others)}
        return {**facts, "differ": self.differ, "why": self.why}

    def __str__(self) -> str:
        return self.sentence("is")

    def sentence(self, verb: str) -> str:
        """What no file states and "is" assumed, or "would be"."""
        others = f"; {' and '.join(self.others)} would fit too" if self.others else ""
        differ = f" (they differ in {self.differ})" if self.differ else ""
        why = f", {self.why}" if self.why else ""
        return f"no file states the {self.fact}: {self.value} {verb} assumed{why}{others}{differ}"


@dataclass(frozen=True, slots=True)
class Head:
    """The layers that turn features into the task's outputs.

    `path` is the module that was replaced for the task ("fc", "classifier.1"), `tensors` its
    tensors' names; `kind` is a HeadKind, or another size of convolution ("conv5x5"). `in_width` and
    `outputs` are the feature count it takes and the number of outputs it gives, 0 where that is not
    known. `takes` is what the backbone hands it.
    """

    path: str
    kind: HeadKind | str
    in_width: int
    outputs: int
    tensors: tuple[str, ...]
    evidence: str
    role: HeadRole = HeadRole.UNKNOWN
    takes: HeadInput = HeadInput.UNKNOWN


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

    @property
    def photo_scale(self) -> float:
        """The standard deviation that ordinary photos have once prepared; 0.0 if unclear."""
        if not self.std or min(self.std) <= 0:
            return 0.0
        return PHOTO_STD * 255 * self.scale * sum(1 / s for s in self.std) / len(self.std)

    @property
    def is_wide(self) -> bool | None:
        """Whether what it makes ranges over 0 to 255; None if that is unclear."""
        scale = self.photo_scale
        return is_wide(scale) if scale <= NARROW[1] or scale >= STATED_WIDE else None


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
    what the file states that its tensors contradict. `assumptions` are what was taken for granted
    when a module was made, `left_over` the tensors of the file that lie beside the part that is the
    model. `root` is the module within `tensors` that is the architecture's own top ("bert",
    "backbone"; "" where nothing is around it). `runner_up` is the closest architecture that is none
    of them. `side_heads` are heads beside the main one (auxiliary, distillation, boxes, masks).
    `kind` says what the file is where it is no plain model ("LoRA adapter", "optimizer state",
    "quantized state dict"). `preprocessing_fault` says what is wrong with a description that the
    file holds and that could not be understood. `imprint` is what its weights remember of its
    inputs; None if nobody asked, or the model has no convolution.
    """

    manifest: Manifest
    place: str
    prefix: str
    tensors: tuple[TensorSpec, ...]
    architectures: tuple[Architecture, ...] = ()
    ambiguity: str = ""
    assumptions: tuple[Assumption, ...] = ()
    left_over: tuple[str, ...] = ()
    root: str = ""
    runner_up: Architecture | None = None
    head: Head | None = None
    side_heads: tuple[Head, ...] = ()
    kind: str = ""
    labels: Labels = field(default_factory=Labels)
    preprocessing: AnyPreprocessing | None = None
    preprocessing_fault: str = ""
    values_read: bool = False
    imprint: Imprint | None = None

    @property
    def of_assumed(self) -> str:
        """ " of the assumed torchvision/resnet18": what a proof is of; "" if nothing is assumed."""
        names = [a.value for a in self.assumptions if a.fact == "architecture"]
        return f" of the assumed {names[0]}" if names else ""

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
