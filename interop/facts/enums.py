"""The words that facts are made of: each value is the text that JSON has."""

from __future__ import annotations

from enum import StrEnum


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


class AxisState(StrEnum):
    """How far an axis of an exported graph may go.

    "open": wherever the module itself runs, the graph is the same. "restricted": the graph is the
    module at some sizes alone. "fixed": at one size alone.
    """

    OPEN = "open"
    RESTRICTED = "restricted"
    FIXED = "fixed"


class GapKind(StrEnum):
    """How evidence that a policy asks for is not there: none is, it is of other files or of other
    conditions, or it is too old."""

    MISSING = "missing"
    FOREIGN = "foreign"
    STALE = "stale"


class Danger(StrEnum):
    """What loading a Python name does."""

    SAFE = "safe"  # rebuilds tensors and plain containers
    REFUSED = "refused"  # harmless, but not on the allow-list of torch.load(weights_only=True)
    CODE = "code"  # a class of somebody's, needed to load the file
    UNSAFE = "unsafe"  # can run a command, or is called without being known


class Layout(StrEnum):
    """How the parts of a tensor hold it."""

    STRIDED = "strided"
    SPARSE_COO = "sparse_coo"  # the sparse ones: indices and values
    SPARSE_CSR = "sparse_csr"
    SPARSE_CSC = "sparse_csc"
    SPARSE_BSR = "sparse_bsr"
    SPARSE_BSC = "sparse_bsc"
    JAGGED = "jagged"  # nested; its shape is that of its values
    SHARDED = "sharded"  # pieces, each named by the place where it begins: "0,128"
    SHARD = "shard"  # one rank's piece alone
    SUBCLASS = "subclass"  # whatever a tensor subclass keeps


class HeadKind(StrEnum):
    """What layers a head is."""

    LINEAR = "linear"
    CONV1X1 = "conv1x1"
    CONV3X3 = "conv3x3"
    SEVERAL_LAYERS = "several layers"
    TIED = "tied"  # to the input embeddings; it has no tensors of its own
    REMOVED = "removed"


class HeadRole(StrEnum):
    """What a head's outputs are."""

    UNKNOWN = ""
    CLASSES = "classes"
    AUXILIARY_CLASSES = "auxiliary classes"
    BOX_CLASSES = "box classes"
    PIXEL_CLASSES = "pixel classes"
    AUXILIARY_PIXEL_CLASSES = "auxiliary pixel classes"
    TOKEN_CLASSES = "token classes"
    DISTILLATION = "distillation"
    BOXES = "boxes"
    MASKS = "masks"
    KEYPOINTS = "keypoints"
    DEPTH = "depth"
    PIXELS = "pixels"
    ANSWER_SPAN = "answer span"
    CHOICE = "choice"
    SENTENCE_ORDER = "sentence order"
    VOCABULARY = "vocabulary"
    CHARACTERS = "characters"
    PROJECTION = "projection"
    BESIDE = "beside"  # a module beside the backbone that is not known to be a head


class HeadInput(StrEnum):
    """What a backbone hands its head."""

    UNKNOWN = ""
    AVERAGE = "avg"  # pooled features
    TOKEN = "token"  # of a class token
    FLAT = "flat"  # a feature map in one row
    MAP = "map"  # a feature map
    SEQUENCE = "sequence"  # one vector a token


class MapStep(StrEnum):
    """How tensors of two files were matched."""

    NAME = "name"
    UNPREFIXED = "name without its prefix"
    PREFIX = "prefix"
    RENAME = "known rename"
    STRUCTURE = "structure"
    ORDER = "definition order"
    HEAD = "head"
    TIED_HEAD = "tied head"
    SAME_BYTES = "the same bytes"


class ProofName(StrEnum):
    """The proofs there are; those of an export first, in the order in which they are made."""

    LOADED_FRACTION = "loaded fraction"
    SAME_WEIGHTS = "same weights"
    PARITY = "parity"
    CANARY = "canary"
    STRUCTURE = "structure"
    FILES = "files"
    LABELS = "labels"
    RECORDED_ANSWERS = "recorded answers"
    PREPROCESSING = "preprocessing in the graph"
    SAME_FORWARD = "same forward"
    TRANSFERRED_FRACTION = "transferred fraction"
    CACHED_FEATURES = "cached features"
    INTERFACE = "interface"


class Unit(StrEnum):
    """What a measured number counts."""

    MS = "ms"
    BYTES = "bytes"
    RATIO = "ratio"
    SHARE = "share"  # 0 to 1
    POINTS = "points"  # a difference of shares
    COUNT = "count"
    ABS = "abs"  # in the outputs' own unit
    P = "p"  # a probability
    PER_SECOND = "per second"
    SECONDS = "s"
    NATS = "nats"  # of information: a divergence


class Group(StrEnum):
    """The table that a measurement belongs to: the condition "group"."""

    ACCURACY = "accuracy"
    CHANGE_OF_RUNTIME = "change of runtime"
    CHANGE_OF_MODEL = "change of model"
    CHANGE_OF_PRECISION = "change of precision"
    LATENCY = "latency"
    LATENCY_RATIO = "latency ratio"
    THROUGHPUT = "throughput"
    COPIES = "copies"
    OWN_PROCESS = "own process"
    ACCURACY_CHANGE = "accuracy change"
    SCORE_CHANGE = "score change"
    LATENCY_CHANGE = "latency change"
    OWN_PROCESS_CHANGE = "own process change"
    VALIDATION = "validation"
    TRAINING = "training"
    LEARNING = "learning"
    REUSE = "reuse"
    FINE_TUNED = "fine-tuned"
    AS_IT_IS = "as it is"
    HELD_BACK = "held-back test set"
    SAMPLE_EFFICIENCY = "sample efficiency"
    COST = "cost"
    TRANSFERABILITY = "transferability"
    ORDER = "order"
    SIMILARITY = "similarity"
    FILE = "file"
    PROVIDERS = "providers"
    INPUTS = "inputs"


class Basis(StrEnum):
    """By which answers two candidates of an assessment were compared."""

    PROBE = "probe"
    TUNED = "fine-tuned"
    OWN = "as it is"
    SAME = "the same weights"


class TaskName(StrEnum):
    """A task by the Hub's word for it."""

    IMAGE_CLASSIFICATION = "image-classification"
    TEXT_CLASSIFICATION = "text-classification"
    AUDIO_CLASSIFICATION = "audio-classification"
    IMAGE_SEGMENTATION = "image-segmentation"
    OBJECT_DETECTION = "object-detection"
    TOKEN_CLASSIFICATION = "token-classification"
    QUESTION_ANSWERING = "question-answering"
    TEXT_GENERATION = "text-generation"
    SPEECH_RECOGNITION = "automatic-speech-recognition"
    REGRESSION = "regression"


class InputRole(StrEnum):
    """What an input is to its command; an assessment's models go by their names instead."""

    A = "A"
    B = "B"
    BASELINE = "baseline"
    CANDIDATE = "candidate"
    FILE = "file"
    DATA = "data"
    OLD = "old"
    NEW = "new"
    CHECKPOINT = "checkpoint"
    GRAPH = "graph"
    ARTEFACT = "artefact"
    BUNDLE = "bundle"
    BACKBONE = "backbone"
    SOURCE = "source"
    LIKE = "like"
    STORE = "store"


class GateState(StrEnum):
    """What became of a model of a repository since the baseline."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    RENAMED = "renamed"
    NEW = "new"


class SweptAs(StrEnum):
    """What became of a model of a store that is swept."""

    OK = "ok"
    FAULTY = "faulty"  # a finding of level error
    UNREADABLE = "unreadable"
    NO_MODEL = "no model"  # its ending may be of anything, and it is not
