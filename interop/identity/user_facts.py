"""What a person says of files that do not say it themselves."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Self

from interop.errors import ConfigError
from interop.facts import AnyPreprocessing, Labels
from interop.identity.metadata import read_labels, read_preprocessing
from interop.options import ask
from interop.records import dataclass, replace


class FromData(Enum):
    """A fact that is to be measured from the data of the run: `--preprocess measured`."""

    MEASURED = "measured"


def read_or_measure(given: str) -> AnyPreprocessing | FromData:
    """Return the preprocessing that a person gives, or that it is to be measured. Raises
    ConfigError."""
    return FromData.MEASURED if given == FromData.MEASURED.value else read_preprocessing(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class UserFacts:
    """`arch` decides between architectures that the weights allow alike; `labels` and
    `preprocessing` hold for the files that do not state their own. A preprocessing that is to be
    measured counts before what the file states."""

    labels: Labels | None = ask(
        None,
        "Class names in the order of the outputs, where the file names none.",
        metavar="A,B,…|FILE|none",
        parse=read_labels,
    )
    preprocessing: AnyPreprocessing | FromData | None = ask(
        None,
        "How images, texts or sounds are prepared, if the file does not say. In export, verify, "
        "bench and assess 'measured' measures it from --data.",
        "--preprocess",
        metavar="JSON|FILE|measured",
        parse=read_or_measure,
    )
    arch: str | None = ask(
        None, "Architecture to use if several match the weights.", metavar="NAME"
    )

    @property
    def measures(self) -> bool:
        """Whether the preprocessing is to be measured."""
        return self.preprocessing is FromData.MEASURED

    @property
    def stated(self) -> AnyPreprocessing | None:
        """The preprocessing that a person states. Raises ConfigError if it is to be measured."""
        if isinstance(self.preprocessing, FromData):
            raise ConfigError(
                "this command does not measure how inputs are prepared",
                where="--preprocess measured",
                fix="state the preparation as JSON; interop inspect FILE --data DIR measures it",
            )
        return self.preprocessing

    def measurable(self, data: str | Path | None) -> Self:
        """Return the facts that are stated, if `data` are there to measure the preprocessing by.

        Raises ConfigError if it is to be measured and there are none.
        """
        if not self.measures:
            return self
        if data is None:
            raise ConfigError(
                "there are no data to measure by",
                where="--preprocess measured",
                fix="give images of the kind that it was trained on with --data",
            )
        return replace(self, preprocessing=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildFacts(UserFacts):
    """The same for commands that build the module; `strict` lets nothing be assumed."""

    strict: bool = ask(
        False, "Exit 3 instead of assuming what no file states (architecture, input size)."
    )
