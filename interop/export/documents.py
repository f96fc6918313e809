"""What an export found -> the bundle's config.json, receipt and model card."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from interop import __version__
from interop.facts import Evidence, HeadRole, Identity, Json, Labels, Proof, ProofName
from interop.identity.describe import assumptions_facts, preprocessing_facts
from interop.identity.metadata import ASSUMED, NOT_APPLICABLE, preprocessing_json
from interop.proof.failure_folder import environment as environment
from interop.report.json import dump
from interop.report.markdown import code, tame

# Roles of a head whose outputs stand side by side in each row.
_AS_WIDE = (
    "",
    HeadRole.CLASSES,
    HeadRole.TOKEN_CLASSES,
    HeadRole.PIXEL_CLASSES,
    HeadRole.VOCABULARY,
    HeadRole.CHARACTERS,
)


def metadata(identity: Identity) -> dict[str, str]:
    """What the graph's properties and the weights' header both say, as strings.

    `arch` as it is, `labels` and `preprocess` as JSON; a fact that is unknown is left out.
    """
    metadata: dict[str, str] = {}
    if identity.architecture:
        metadata["arch"] = identity.architecture
    if identity.assumptions:
        metadata[ASSUMED] = json.dumps([a.fact for a in identity.assumptions])
    if identity.labels.known:
        metadata["labels"] = json.dumps(_labels(identity.labels), ensure_ascii=False)
    if identity.preprocessing:
        metadata["preprocess"] = json.dumps(preprocessing_json(identity.preprocessing))
    return metadata


def width(identity: Identity) -> int | None:
    """How many numbers an output row should have; None where nothing reliable tells.

    The head of a known architecture, else the labels; what only looks like the head of somebody's
    own class (its last layer) is no ground to fail an export on, and a row of boxes or of choices
    is as wide as there are boxes or choices.
    """
    if identity.architecture and identity.head is not None:
        return (identity.head.outputs or None) if identity.head.role in _AS_WIDE else None
    return len(identity.labels.names) if identity.labels.names is not None else None


def config(
    identity: Identity,
    *,
    factory: str | None,
    head: str | None,
    dtype: str,
    inputs: Sequence[Mapping[str, Json]],
) -> dict[str, Json]:
    """config.json: how to build the module again, and what its inputs and outputs mean."""
    how, shape = identity.preprocessing, identity.head
    document: dict[str, Json] = {
        "arch": identity.architecture,
        "dtype": dtype,
        "inputs": [dict(i) for i in inputs],
        "labels": _labels(identity.labels),
        "preprocess": preprocessing_json(how) if how else None,
    }
    if identity.assumptions:
        document[ASSUMED] = [a.fact for a in identity.assumptions]
    if shape is not None:
        document["num_classes"] = shape.outputs
        document["head"] = {k: getattr(shape, k) for k in ("path", "kind", "in_width", "outputs")}
    if factory:
        document["model"] = factory
    if head:
        document["head_model"] = head
    return document


def receipt(
    identity: Identity,
    folder: Path,
    source_sha256: str,
    proofs: Sequence[Proof],
    conversion: Mapping[str, Json],
) -> dict[str, Json]:
    """interop.json: what was made of what, by which route, on what proof."""
    return {
        "schema": 1,
        "made_by": f"interop {__version__}",
        "source": {
            "file": Path(identity.manifest.path).name,
            "sha256": source_sha256,
            "container": identity.manifest.container,
            "place": identity.place,
        },
        **({ASSUMED: assumptions_facts(identity)} if identity.assumptions else {}),
        **_measured(identity),
        "key_map": _key_map(identity, proofs),
        "files": {name: file_sha256(folder / name) for name in files_of(folder)},
        **conversion,
        "proofs": [
            {
                "name": p.name,
                "holds": p.holds,
                "what": p.what,
                "facts": dict(p.facts),
                "seconds": round(p.seconds, 3),
            }
            for p in proofs
        ],
        "environment": environment(),
    }


def _measured(identity: Identity) -> dict[str, Json]:
    """The preparation, if no file and nobody states it."""
    how = identity.preprocessing
    if how is None or how.evidence is Evidence.STATED:
        return {}
    return {"preprocessing": preprocessing_facts(how)}


def _key_map(identity: Identity, proofs: Sequence[Proof]) -> dict[str, Json]:
    """How the checkpoint's names became the module's, as the proof of loading has it."""
    loaded = next((p.facts for p in proofs if p.name == ProofName.LOADED_FRACTION), {})
    keys = ("renamed", "converted", "ties", "ignored", "computed", "base", "merged")
    changes = {key: loaded[key] for key in keys if loaded.get(key)}
    return {
        "prefix_removed": identity.prefix,
        **(changes or {"names": "unchanged after the prefix"}),
    }


def card(identity: Identity, name: str, proofs: Sequence[Proof], facts: Mapping[str, Any]) -> str:
    """README.md: a model card with the Hub's metadata, of measured figures alone."""
    loader = PackageLoader("interop.export", ".")
    surroundings = Environment(
        loader=loader, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    surroundings.filters |= {
        "json": lambda v: json.dumps(v, ensure_ascii=False),
        "tame": lambda v: tame(str(v)),
        "code": lambda v: code(str(v)),
    }
    return surroundings.get_template("card.md.j2").render(
        name=name,
        identity=identity,
        source=Path(identity.manifest.path).name,
        preprocess=identity.preprocessing,
        weights=sum(t.numel for t in identity.tensors if not t.is_counter),
        proofs=proofs,
        versions=environment(),
        **facts,
    )


def files_of(folder: Path) -> list[str]:
    """All files of a bundle, by their path within it."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def file_sha256(path: Path) -> str:
    """The hash of a file's bytes."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: Path, value: Json) -> None:
    path.write_text(dump(value), "utf-8", newline="\n")


def _labels(labels: Labels) -> Json:
    if not labels.applicable:
        return NOT_APPLICABLE
    return list(labels.names) if labels.names is not None else None
