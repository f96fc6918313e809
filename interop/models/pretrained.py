"""What is known of pretrained weights before and after they are in a module."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from interop.facts import Identity, Proof


@dataclass(frozen=True, slots=True)
class PretrainedSource:
    """Pretrained weights that a person named.

    `name` is as it was given. `identity` is of the file; of weights that are drawn at random it has
    no tensors. `library` is "torchvision", "timm", "transformers", "torchaudio" or "" for one's
    own, `arch` the name within it.
    """

    name: str
    identity: Identity
    library: str
    arch: str
    random: bool = False

    @property
    def sha256(self) -> str | None:
        """Hash of the file's content; None of random weights, or where it was not read whole."""
        return None if self.random else self.identity.manifest.content_sha256


@dataclass(slots=True)
class Backbone:
    """A module for a task: pretrained below, a new head on top.

    `head` is the path of the head's module; `fresh` names the tensors that the weights did not
    give: the head's, and at times a layer before it. `proof` is the loaded fraction of all others.
    """

    module: nn.Module
    head: str
    fresh: tuple[str, ...]
    proof: Proof
    notes: tuple[str, ...] = ()
    factory: str | None = None
    labels: tuple[str, ...] = field(default=())
