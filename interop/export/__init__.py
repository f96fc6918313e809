"""A fine-tuned checkpoint -> a bundle (ONNX graph, safetensors, config, receipt, card), proved.

The bundle appears only when all five proofs hold; otherwise the report says which does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interop.errors import InteropError
from interop.export import bundle
from interop.export.work import Options, Progress, Work
from interop.facts import Identity, Report
from interop.models.building import as_named
from interop.models.signature import Argument
from interop.runtimes.pytorch import require_torch_device

__all__ = ["export"]


def export(
    identity: Identity,
    out: str | Path,
    *,
    device: str = "cpu",
    factory: str | None = None,
    head: str | None = None,
    base: str | None = None,
    arch: str | None = None,
    trust_pickle: bool = False,
    samples: NDArray[np.float32] | None = None,
    inputs: Sequence[tuple[Argument, Mapping[str, int]]] = (),
    shard: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Report:
    """Writes the bundle folder `out` and reports the five proofs.

    `factory` and `head` name the person's own code (see `interop.models.build`); `samples` are real
    inputs (n, ...) as the model takes them, float32, 10 or more to have each used once. On `device`
    both runtimes are compared. `force` replaces an older bundle, and nothing but a bundle.
    `progress` is told each step.

    The report's outcome is YES with the bundle written, or NO with nothing written and the proof
    that failed among `proofs`; proofs that were then not made are in `skipped`. `details` holds
    `route`, `attempts` (routes given up, and why), `opset`, `files` (bytes), `derived`,
    `conversion_seconds` and `proof_seconds` with their CPU times, and `notes`. Raises InteropError
    where `out` is taken or cannot be written, ModelError where no module can be built or run, and
    DeviceMissing.
    """
    identity = as_named(identity, arch)
    target = Path(out)
    bundle.check_target(target, force)
    if Path(identity.manifest.file).resolve().is_relative_to(target.resolve()):
        raise InteropError(
            "holds the very weights that are to be exported",
            where=str(target),
            fix="give another name with -o",
        )
    require_torch_device(device)
    options = Options(device, factory, head, base, arch, trust_pickle, samples, inputs, shard)
    work = Work(identity, options, progress or (lambda step: None))
    module = work.module()
    if not work.proofs[0].holds:
        return work.report(None)
    forward, feed = work.prepare(module)
    with bundle.Staging(target, force) as staging:
        made = work.convert(forward, feed, staging.folder)
        if made is None:
            return work.report(None)
        work.write_documents(staging.folder, target.name, forward, made)
        work.progress("putting the bundle in its place")
        files = {p.name: p.stat().st_size for p in sorted(staging.folder.iterdir())}
        staging.commit()
    return work.report(target, files)
