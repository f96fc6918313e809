"""An identity and the data of a run -> the same identity with what the data decide.

The one place where export, verify, bench and assess have a preparation measured, and where export
decides among architectures of the same weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from interop.errors import DataError, ModelError
from interop.facts import Evidence, Fed, Identity, Measurement, Standing, input_divergence
from interop.identity.preparations import apart, in_words
from interop.imprint.answers import VARIANT
from interop.imprint.pipeline import measure, preparation, stated_divergence
from interop.models.build_module import as_built

Say = Callable[[str], None]
_MEASURED = "measured"


def decided(
    identity: Identity,
    data: str | Path | None,
    *,
    prepare: bool = True,
    architecture: bool = False,
    factory: str | None = None,
    head: str | None = None,
    arch: str | None = None,
    trust: bool = False,
    task: str | None = None,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    say: Say | None = None,
) -> Identity:
    """Return the identity with its preparation measured on `data` if `prepare` asks for it.

    With `architecture`, or beside a preparation, the one of several architectures that has these
    weights is taken if the data decide it. The other options are those of `measure`.
    Without data it comes back as it is. Raises Unsettled if the preparation is undecided, and what
    `measure` raises.
    """
    asks = architecture and not (factory or arch) and _open(identity)
    if data is None or not (prepare or asks):
        return identity
    say = say or (lambda _: None)
    try:
        fed = measure(
            identity, data, factory=factory, head=head, arch=arch, trust=trust, task=task,
            columns=columns, split=split, say=say,
        )  # fmt: skip
    except (DataError, ModelError):
        if prepare:
            raise
        return identity  # what needs the data, or the module, says what is wrong with them
    found = _architecture(identity, fed)
    return _prepared(found, fed) if prepare else found


def note(identity: Identity) -> tuple[str, ...]:
    """Return what a report says of an architecture and a preparation that were measured."""
    measured = [a for a in identity.architectures if a.evidence.startswith(_MEASURED)]
    notes = [f"architecture {a.evidence}: {a.name}" for a in measured]
    how = identity.image_preprocessing
    if how is not None and how.evidence is Evidence.MEASURED:
        notes.append(f"preprocessing {how.source or _MEASURED}: {in_words(how)}")
    return tuple(notes)


def divergence(
    module: nn.Module, inputs: Mapping[str, NDArray[Any]], of: str, **conditions: Any
) -> tuple[Measurement, ...]:
    """Return how far inputs are from what a module remembers, as one Measurement.

    Nothing is returned unless there is one input, a batch of float32 images, and the module is a
    float32 network with BatchNorms.
    """
    arrays = list(inputs.values())
    types = {t.dtype for t in module.parameters()}
    if len(arrays) != 1 or arrays[0].ndim != 4 or arrays[0].dtype != np.float32:
        return ()
    if types != {torch.float32}:
        return ()
    if any(t.device.type != "cpu" for t in module.parameters()):
        module = deepcopy(module).cpu()
    try:
        with redirect_stdout(sys.stderr):  # what a person's module prints is not the report's
            value = stated_divergence(module, torch.from_numpy(np.ascontiguousarray(arrays[0])))
    except Exception:  # a person's own code may raise anything
        return ()
    if value is None or not np.isfinite(value):
        return ()
    return (input_divergence(value, of, len(arrays[0]), **conditions),)


def _open(identity: Identity) -> bool:
    """Whether the architecture would be assumed, or could not be built for being one of several."""
    settled = as_built(identity, None)
    assumed = len(settled.assumptions) > len(identity.assumptions)
    return assumed or len(settled.architectures) > 1


def _architecture(identity: Identity, fed: Fed) -> Identity:
    answer = fed.answer(VARIANT.name)
    if answer is None or answer.standing is not Standing.MEASURED:
        return identity
    one = next((a for a in identity.architectures if a.name == answer.answer), None)
    if one is None or len(identity.architectures) < 2:
        return identity
    evidence = f"{_MEASURED} on {fed.samples} images of {fed.data}"
    return replace(identity, architectures=(replace(one, evidence=evidence),), ambiguity="")


def _prepared(identity: Identity, fed: Fed) -> Identity:
    """The measured preparation in place of the stated one, which its source names."""
    how, stated = preparation(fed, identity), identity.image_preprocessing
    if stated is not None and stated.evidence is Evidence.STATED:
        same = stated.size in (None, how.size) and not apart(stated, how)
        words = f"as {stated.source} states" if same else (
            f"in place of what {stated.source} states, {in_words(stated)}"
        )  # fmt: skip
        how = replace(how, source=f"{how.source}, {words}")
    return replace(identity, preprocessing=how, preprocessing_fault="")
