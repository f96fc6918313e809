"""What a person asks of an export, or of its proofs made again."""

from __future__ import annotations

import re
from collections.abc import Sequence

from interop.errors import ConfigError
from interop.identity.user_facts import BuildFacts
from interop.options import BASE, DEVICES, OWN_MODULE, TAKES, TRUST, ask
from interop.records import dataclass

PRECISIONS = ("float16", "int8", "int8-static")
RUNTIMES = ("onnxruntime", "openvino")


def parse_size(text: str) -> int:
    """ "5GB" -> bytes. Raises ConfigError."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?", text.strip().upper())
    if match is None or float(match[1]) <= 0:
        raise ConfigError(f"--shard {text!r} is no size", fix="write 5GB or 500MB")
    return int(float(match[1]) * 1000 ** " KMGT".index(match[2] or " "))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions(BuildFacts):
    """How a module is built and proved, and what is written beside the bundle.

    `factory` and `head` are references as `interop.models.user_code` reads them, `inputs` as
    `interop.models.signature.parse_argument` does. `shard` is in bytes. `force` replaces an older
    bundle, and nothing but a bundle.
    """

    data: str | None = ask(
        None, "Class folders of pictures, or an .npz of inputs: an export's proofs use them, and "
        "they are compared with what the weights remember.",
        metavar="DIR|FILE",
    )  # fmt: skip
    inputs: Sequence[str] = ask((), TAKES, "--input", metavar="SPEC")
    factory: str | None = ask(None, OWN_MODULE, "--model", metavar="MODULE:FACTORY")
    head: str | None = ask(
        None, "Your own function that makes the head alone, where it has several layers.",
        metavar="MODULE:FACTORY",
    )  # fmt: skip
    base: str | None = ask(None, BASE, metavar="FILE|FOLDER")
    trust: bool = ask(False, TRUST, "--trust", "--trust-pickle")
    precisions: Sequence[str] = ask(
        (), "Also write a smaller graph, and measure what it costs; repeatable.", "--precision",
        choices=PRECISIONS,
    )  # fmt: skip
    with_preprocess: bool = ask(
        False, "Also write a graph that takes an uint8 picture and prepares it itself."
    )
    with_labels: bool = ask(False, "The same, and it gives probabilities and the label.")
    embed: bool = ask(False, "Put the weights into model.onnx too: one file.")
    shard: int | None = ask(
        None, "Split model.safetensors into files of, say, 5GB.", metavar="SIZE", parse=parse_size
    )
    explain: bool = ask(False, "Where parity fails, find the first node that departs.")
    runtime: str = ask("onnxruntime", "Where the graph is run.", choices=RUNTIMES)
    device: str = ask("cpu", "Where parity is proved.", choices=DEVICES)
    force: bool = ask(False, "Replace an existing bundle.")
