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
    BUNDLE = "bundle"
    BACKBONE = "backbone"
    SOURCE = "source"
    LIKE = "like"


class GateState(StrEnum):
    """What became of a model of a repository since the baseline."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    RENAMED = "renamed"
    NEW = "new"
