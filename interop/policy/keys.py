"""Each key that a policy may hold -> what it takes, its default, and what it means.

The parser, the published schema, `--show-config` and the file that `interop init` writes all go by
this one table.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from interop.facts import Evidence, Intent, Level, TaskName


class Key(NamedTuple):
    """One key, by its dotted name. `kind` says what it takes, one of KINDS."""

    name: str
    kind: str
    default: Any
    what: str


KINDS = {
    "intent": f"one of {', '.join(map(str, Intent))}",
    "device": "one of cpu, cuda",
    "task": f"one of {', '.join(TaskName)}",
    "flag": "true or false",
    "number": "a number",
    "percent": "a number from 0 to 100",
    "text": "some text",
    "path": "a path",
    "name": "the name of an architecture",
    "names": "a list of names",
    "evidence": f"a list of {', '.join(map(str, Evidence))}",
    "words": "a table of names",
    "facts": "a table such as {resize = [8, 8], mean = [0, 0, 0], std = [1, 1, 1]} or "
    '{kind = "text", tokenizer = "tokenizer.json"}',
    "age": 'an age such as "14 days"',
    "level": f"one of {', '.join(map(str, Level))}",
}

KEYS: tuple[Key, ...] = (
    Key("intent", "intent", "replace", "the question that must be answered yes"),
    Key("values", "flag", True, "whether the weights are read too: NaN, infinity, what moved"),
    Key("budgets.accuracy-drop", "percent", None,
        "points of top-1 (or of the task's first figure) that the candidate may lie below the "
        "baseline"),
    Key("budgets.negative-flips", "percent", None, "percent of samples that were right and are "
        "wrong"),
    Key("budgets.agreement", "percent", None, "percent of samples on which both must answer "
        "alike"),
    Key("budgets.latency-ratio", "number", None,
        "the candidate's median latency over the baseline's"),
    Key("budgets.p99-ratio", "number", None,
        "the candidate's 99th percentile of latency over the baseline's"),
    Key("budgets.throughput-ratio", "number", None,
        "the candidate's throughput over the baseline's must be at least this"),
    Key("budgets.size-mb", "number", None, "megabytes that the candidate's file may take, with "
        "the files that hold its weights"),
    Key("budgets.peak-memory-mb", "number", None,
        "megabytes that the candidate's process may take at its peak, in each runtime measured"),
    Key("budgets.input-divergence", "number", None,
        "nats by which the data set, as the candidate prepares it, may differ from what its "
        "BatchNorms remember of training (0.02 is usual)"),
    Key("budgets.opset-min", "number", None, "the lowest ONNX opset of the exported graph"),
    Key("budgets.opset-max", "number", None, "the highest ONNX opset of the exported graph"),
    Key("evidence.check", "flag", False, "whether the values must have been compared"),
    Key("evidence.export", "flag", False, "whether an export with its proofs is required"),
    Key("evidence.bench", "flag", False, "whether a bench is required; a measured budget asks for "
        "it too"),
    Key("evidence.max-age", "age", None, "how old a report that is handed in may be"),
    Key("evidence.accept", "evidence", ["stated", "measured"], "what the facts may rest on that an "
        "export or a bench was made with; an architecture that no file states is assumed"),
    Key("evidence.data", "path", None, "the data set of which bench evidence must be"),
    Key("evidence.task", "task", None, "the task of which bench evidence must be; needed where "
        "the model does not tell its own"),
    Key("evidence.split", "text", None, "the part of that data set of which it must be"),
    Key("evidence.columns", "words", None, "that data set's columns, by their role"),
    Key("evidence.device", "device", "cpu", "where bench runs"),
    Key("evidence.providers", "names", None, "the execution providers that nodes may run on"),
    Key("facts.arch", "name", None, "which architecture, where the weights allow several"),
    Key("facts.labels", "names", None, "class names, for files that name none"),
    Key("facts.preprocess", "facts", None, "how images, texts or sounds are prepared, for files "
        "that do not say"),
    Key("assess.accuracy", "number", None, "weight of the accuracy in assess's one score"),
    Key("assess.latency", "number", None, "weight of the latency in it"),
    Key("assess.size", "number", None, "weight of the weights' bytes in it"),
)  # fmt: skip

BY_NAME = {key.name: key for key in KEYS}
# Tables whose keys stand above.
GROUPS = ("budgets", "evidence", "facts", "assess")
WAIVER = ("rule", "place", "reason", "expires")

# Budgets that only a bench report can be held against, and the measurement that each judges.
MEASURED = {
    "accuracy-drop": "accuracy change",
    "negative-flips": "negative flips",
    "agreement": "agreement",
    "latency-ratio": "latency ratio",
    "p99-ratio": "p99 ratio",
    "throughput-ratio": "throughput ratio",
    "peak-memory-mb": "peak memory",
    "input-divergence": "input divergence",
}
BUDGETS = {k.name.partition(".")[2]: k.what for k in KEYS if k.name.startswith("budgets.")}
