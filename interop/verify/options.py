"""What a person asks of an artefact's proofs: against what, matched how, within which budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interop.errors import ConfigError
from interop.export.options import ExportOptions
from interop.options import ask
from interop.records import dataclass

DRIFT, FLIPS = "drift", "flips"
BUDGETS = (DRIFT, FLIPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions(ExportOptions):
    """`against` is the source; the fields of an export say how its module is built and fed.

    `map_input` and `map_output` are as `interop.verify.interface` reads them. `budgets` are
    "drift=0.05" (the largest difference as a share of the largest output) and "flips=0.01" (the
    share of predictions that change), which decide where the artefact is of a lower precision.
    `explain_out` is the folder that a failing subgraph is written to.
    """

    against: str | None = ask(
        None, "What the artefact is of: a checkpoint, a folder of transformers or timm, a bundle, "
        "or the graph before an optimiser or a quantiser.",
        metavar="SOURCE",
    )  # fmt: skip
    map_input: Sequence[str] = ask(
        (), "How an input of the source is made of the artefact's, where names and shapes do not "
        "tell: 'input=pixels', 'input=normalize(scale(nchw(image)))'; repeatable.",
        metavar="SOURCE=ARTEFACT",
    )  # fmt: skip
    map_output: Sequence[str] = ask(
        (), "How an output of the artefact is made of the source's: 'scores=logits', "
        "'probabilities=softmax(logits)'; repeatable.",
        metavar="ARTEFACT=SOURCE",
    )  # fmt: skip
    budgets: Sequence[str] = ask(
        (), "How far a lower precision may be off: drift=0.05 (of the largest output), flips=0.01 "
        "(of the predictions), or both with a comma; repeatable.",
        "--budget", metavar="drift=SHARE|flips=SHARE",
    )  # fmt: skip
    explain_out: str | None = ask(
        None, "Where a proof of parity fails, write the smallest part of the graph that shows it.",
        metavar="DIR",
    )  # fmt: skip

    def limits(self) -> Mapping[str, float]:
        """The budgets by name. Raises ConfigError."""
        limits: dict[str, float] = {}
        for one in (part for text in self.budgets for part in text.split(",")):
            name, _, number = one.strip().partition("=")
            try:
                limit = float(number.rstrip("%")) / (100 if number.endswith("%") else 1)
            except ValueError:
                limit = -1.0
            if name not in BUDGETS or not 0 <= limit < float("inf"):
                fix = "write drift=0.05 or flips=1%"
                raise ConfigError(f"{one!r} is no budget", where="--budget", fix=fix)
            limits[name] = limit
        return limits
