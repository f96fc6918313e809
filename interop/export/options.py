"""What a person asks of an export, or of its proofs made again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interop.identity.user_facts import UserFacts

PRECISIONS = ("float16", "int8", "int8-static")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions(UserFacts):
    """How a module is built and proved, and what is written beside the bundle.

    `factory` and `head` name the person's own code (see `interop.models.build`), `base` is the
    checkpoint that an adapter is for; `trust_pickle` lets a whole pickled module run. `inputs` say
    what a module of one's own takes, as `parse_argument` reads them. On `device` both runtimes are
    compared; `runtime` is where the graph is run for parity; `explain` looks for the first node
    that departs where parity fails.

    `data` is a folder of pictures or an .npz of inputs, on which proofs are made. `precisions` name
    smaller graphs; `with_preprocess` asks for a graph that prepares its picture, `with_labels` for
    one that gives the label too; `embed` puts the weights into the graph; `shard` is the most bytes
    of one safetensors file. `force` replaces an older bundle, and nothing but a bundle.
    """

    factory: str | None = None
    head: str | None = None
    base: str | None = None
    trust_pickle: bool = False
    inputs: Sequence[str] = ()
    device: str = "cpu"
    runtime: str = "onnxruntime"
    explain: bool = False
    data: str | None = None
    precisions: Sequence[str] = ()
    with_preprocess: bool = False
    with_labels: bool = False
    embed: bool = False
    shard: int | None = None
    force: bool = False
