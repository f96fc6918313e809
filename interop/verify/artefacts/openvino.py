"""An OpenVINO IR (model.xml with model.bin) -> its constants and its answers on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interop.errors import ReadError
from interop.facts import FEW, Identity, Port, Proof, ProofName
from interop.models.signature import Signature
from interop.proof import Feed
from interop.proof.accounted import ArtefactWeights
from interop.runtimes import OpenVinoRuntime
from interop.runtimes.base import Array, Runtime
from interop.verify.artefacts.base import Artefact

_FLOATS = ("f32", "f64", "f16", "bf16")
_CODES = ("i8", "u8", "i4", "u4", "nf4", "f8e4m3", "f8e5m2")


class OpenVinoArtefact(Artefact):
    """An IR. Raises ExtraMissing without OpenVINO, ReadError where its weights are missing or it
    cannot be read."""

    kind = "OpenVINO IR"

    def __init__(self, identity: Identity, device: str) -> None:
        super().__init__(identity, device)
        weights = self.path.with_suffix(".bin")
        if not weights.is_file():
            what, fix = f"its weights ({weights.name}) are not beside it", "fetch that file too"
            raise ReadError(what, where=str(self.path), fix=fix)
        self.model = OpenVinoRuntime.read(self.path)
        kinds = {
            op.get_element_type().get_type_name() for op in self._operators() if _size(op) > FEW
        }
        lowered = {"f16": "float16", "bf16": "bfloat16"}
        self.precision = next((lowered[k] for k in ("f16", "bf16") if k in kinds), "")
        if kinds & set(_CODES):
            self.precision = "int8"

    def _operators(self) -> list[Any]:
        return [op for op in self.model.get_ordered_ops() if op.get_type_name() == "Constant"]

    @property
    def ports(self) -> tuple[Port, ...]:
        return tuple(
            Port(
                p.get_any_name(), np.dtype(p.get_element_type().to_dtype()).name,
                tuple(
                    d.get_length() if d.is_static else f"{p.get_any_name()}_axis_{i}"
                    for i, d in enumerate(p.get_partial_shape())
                ),
            )
            for p in self.model.inputs
        )  # fmt: skip

    def open(self, takes: Signature) -> Runtime:
        return OpenVinoRuntime(self.path)

    def answers(self, runtime: Runtime, batch: Mapping[str, Array]) -> dict[str, Array]:
        names = [
            next(iter(sorted(p.names)), f"output_{i}") for i, p in enumerate(self.model.outputs)
        ]
        return dict(zip(names, runtime.outputs(batch), strict=True))

    def shapes(self, runtime: Runtime) -> dict[str, tuple[int | str | None, ...]]:
        return {p.name: p.shape for p in self.ports}

    def weights(self) -> ArtefactWeights:
        operators = {op.get_friendly_name(): op for op in self._operators()}
        unread = tuple(
            n for n, op in operators.items()
            if op.get_element_type().get_type_name() in _CODES and _size(op) > FEW
        )  # fmt: skip
        return ArtefactWeights(_Read(operators), unread=unread, container="IR")

    def structure(self, feed: Feed, width: int | None, runtime: Runtime) -> Proof:
        start = perf_counter()
        outputs = runtime.outputs(feed.one(self.shapes(runtime)))
        faults = []
        if not all(np.isfinite(o).all() for o in outputs):
            faults.append("outputs that are not finite")
        if width is not None and width not in outputs[0].shape[1:]:
            faults.append(f"output shape {outputs[0].shape}, the head has {width} rows")
        what = "; ".join(faults) or "OpenVINO compiles and runs it, outputs are finite"
        return Proof(ProofName.STRUCTURE, not faults, what, {}, perf_counter() - start)

    def subject(self, takes: Signature) -> _Subject:
        return _Subject(self)


def _size(operator: Any) -> int:
    return int(np.prod(list(operator.get_output_shape(0))))


class _Read:
    def __init__(self, operators: Mapping[str, Any]) -> None:
        self.operators = operators

    def __iter__(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for name, op in self.operators.items():
            if op.get_element_type().get_type_name() in _FLOATS:
                yield name, np.array(op.data)


class _Subject:
    """An IR whose constants are replaced in a copy that is read anew."""

    def __init__(self, artefact: OpenVinoArtefact) -> None:
        self.artefact = artefact
        self.operators = {
            op.get_friendly_name(): op for op in artefact._operators()
            if op.get_element_type().get_type_name() in _FLOATS and len(op.get_output_shape(0)) > 1
            and _size(op) > FEW
        }  # fmt: skip

    def names(self) -> list[str]:
        return list(self.operators)

    def array(self, name: str) -> NDArray[Any]:
        return np.array(self.operators[name].data)

    def stored(self, name: str) -> bool:
        return True

    def changed(self, name: str, array: NDArray[Any]) -> Runtime:
        return OpenVinoRuntime(self.artefact.path, instead={name: array})
