"""What the proofs need of an artefact, whatever its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path

from interop.errors import DeviceMissing
from interop.facts import Identity, Port, Proof
from interop.models.signature import Signature
from interop.proof import Feed
from interop.proof.accounted import ArtefactWeights
from interop.proof.canary import Subject
from interop.runtimes.base import Array, Runtime


class Artefact(ABC):
    """A file that another tool may have written, opened to be proved.

    `kind` is what a person calls it, `precision` what its weights were lowered to ("" where they
    were not).
    """

    kind: str
    precision: str = ""

    def __init__(self, identity: Identity, device: str) -> None:
        self.identity, self.device = identity, device
        self.path = Path(identity.manifest.file)
        if device != "cpu" and self.kind != "graph":
            what = f"{self.kind} is proved on the CPU alone here"
            raise DeviceMissing(what, where=f"--device {device}", fix="ask for --device cpu")

    @property
    @abstractmethod
    def ports(self) -> tuple[Port, ...]:
        """Its inputs; () where the format states none, so that the source's are taken."""

    @abstractmethod
    def open(self, takes: Signature) -> Runtime:
        """It, ready to run; `takes` is what it is fed, in its own names."""

    @abstractmethod
    def answers(self, runtime: Runtime, batch: Mapping[str, Array]) -> dict[str, Array]:
        """Its outputs by their names, for one input."""

    @abstractmethod
    def shapes(self, runtime: Runtime) -> dict[str, tuple[int | str | None, ...]]:
        """The axes of each input: a number where fixed; {} where it does not say."""

    @abstractmethod
    def weights(self) -> ArtefactWeights:
        """Its weights, each read when it is asked for."""

    @abstractmethod
    def structure(self, feed: Feed, width: int | None, runtime: Runtime) -> Proof:
        """Proves "structure": it is sound, and gives finite numbers of the right width."""

    @abstractmethod
    def subject(self, takes: Signature) -> Subject:
        """It as what the canary changes."""
