"""Sizes that were tried, axes and proofs -> the words and facts that a report has of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from interop.facts import AxisDomain, AxisState, Json, Proof, ProofName
from interop.models.signature import Signature
from interop.proof.domain import SizeTrial
from interop.proof.parity import json_number


def sizes(trial: SizeTrial) -> str:
    """ "height 32, width 48" """
    return ", ".join(f"{axis} {n}" for axis, n in trial.sizes.items())


def repeated(alike: Proof, trials: Sequence[SizeTrial], draws: int = 1) -> Proof:
    """Parity with trials that must hold as well: sizes that a receipt names, or `draws` inputs of
    other values at each size."""
    facts = {**alike.facts, "trials": [trial_facts(t) for t in trials]}
    for trial in trials:
        if not trial.good:
            why = trial.why or f"outputs {trial.relative:.1e} of the largest apart"
            where = sizes(trial) or "another input"
            return replace(alike, holds=False, what=f"{where}: {why}", facts=facts)
    more = f"; with {draws} inputs of each size" if draws > 1 else elsewhere(trials)
    return replace(alike, what=f"{alike.what}{more}", facts=facts)


def trial_facts(trial: SizeTrial) -> dict[str, Json]:
    """A trial as a receipt has it."""
    return {
        "sizes": dict(trial.sizes),
        "outcome": str(trial.outcome),
        "relative": json_number(trial.relative),
        "allowed": json_number(trial.allowed),
    }


def elsewhere(trials: Sequence[SizeTrial]) -> str:
    """ "; and at 9 other sizes" """
    count = sum(t.good and t.allowed > 0 for t in trials)
    return f"; and at {count} other size{'s' * (count != 1)}" if count else ""


def shown(name: str, shape: Sequence[Json], domain: Sequence[AxisDomain]) -> list[Json]:
    """The axes of a graph's input: a number where the domain has one size."""
    fixed = {d.axis: d.min for d in domain if d.input == name and d.state is AxisState.FIXED}
    return [fixed.get(place, axis) for place, axis in enumerate(shape)]


def spec(signature: Signature) -> str:
    """The first argument as --input takes it, its named axes with their sizes."""
    argument = signature.arguments[0]
    known = signature.sizes
    axes = [f"{x}:{known[x]}" if isinstance(x, str) and x in known else str(x)
            for x in argument.axes]  # fmt: skip
    return f"{argument.name}={argument.dtype}({','.join(axes)})"


def some(places: Sequence[str]) -> str:
    """The first four, and how many more."""
    more = f" and {len(places) - 4} more" if len(places) > 4 else ""
    return ", ".join(places[:4]) + more


def parting(proofs: Sequence[Proof]) -> str:
    """The batch at which parity failed; "" where another proof did."""
    for proof in proofs:
        if proof.name == ProofName.PARITY and not proof.holds:
            for label, b in proof.facts["batches"].items():
                if not isinstance(b["relative"], float) or b["relative"] > b["allowed"]:
                    return str(label)
    return ""
