"""What a person says of files that do not say it themselves."""

from __future__ import annotations

from dataclasses import dataclass

from interop.facts import AnyPreprocessing, Labels
from interop.identity.metadata import read_labels, read_preprocessing
from interop.options import ask


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFacts:
    """`arch` decides between architectures that the weights allow alike; `labels` and
    `preprocessing` hold for the files that do not state their own."""

    labels: Labels | None = ask(
        None,
        "Class names in the order of the outputs, where the file names none.",
        metavar="A,B,…|FILE|none",
        parse=read_labels,
    )
    preprocessing: AnyPreprocessing | None = ask(
        None,
        "How images, texts or sounds are prepared, if the file does not say.",
        "--preprocess",
        metavar="JSON|FILE",
        parse=read_preprocessing,
    )
    arch: str | None = ask(
        None, "Architecture to use if several match the weights.", metavar="NAME"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts(UserFacts):
    """The same for commands that build the module; `strict` lets nothing be assumed."""

    strict: bool = ask(
        False, "Exit 3 instead of assuming what no file states (architecture, input size)."
    )
