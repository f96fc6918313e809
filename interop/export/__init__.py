"""A fine-tuned checkpoint -> a bundle (ONNX graph, safetensors, config, receipt, card), proved.

The bundle appears only when all five proofs hold; otherwise the report says which does not.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from interop.errors import InteropError
from interop.export import artifacts, bundle, documents
from interop.export.artifacts import Extra
from interop.export.pipeline import Options, Progress, Work
from interop.facts import Identity, Report
from interop.models.build import as_named
from interop.runtimes.pytorch import require_torch_device

__all__ = ["Extra", "Options", "export"]

SAMPLES = 16  # real ones on which parity is proved; batches of 1, 2 and 3 use the first six


def export(
    identity: Identity,
    out: str | Path,
    *,
    options: Options | None = None,
    extra: Extra | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **given: Any,
) -> Report:
    """Writes the bundle folder `out` and reports the proofs.

    `options` say how the module is built and proved (`interop.export.Options`; its fields may be
    given as keywords instead: `factory`, `head`, `base`, `arch`, `samples`, …), `extra` what is
    wanted beside the bundle (`interop.export.Extra`). `force` replaces an older bundle, and nothing
    but a bundle. `progress` is told each step.

    The report's outcome is YES with the bundle written, or NO with nothing written and the proof
    that failed among `proofs`; proofs that were then not made are in `skipped`. `details` holds
    `route`, `attempts` (routes given up, and why), `opset`, `inputs`, `outputs`, `files` (bytes),
    `derived`, `conversion_seconds` and `proof_seconds` with their CPU times, and `notes`; with
    `explain`, `departure`. Raises InteropError where `out` is taken or cannot be written,
    ModelError where no module can be built or run, and DeviceMissing.
    """
    options = replace(options or Options(), **given)
    extra = extra or Extra()
    identity = as_named(identity, options.arch)
    target = Path(out)
    bundle.check_target(target, force)
    if Path(identity.manifest.file).resolve().is_relative_to(target.resolve()):
        raise InteropError(
            "holds the very weights that are to be exported",
            where=str(target),
            fix="give another name with -o",
        )
    require_torch_device(options.device)
    artifacts.check(extra, identity)
    if options.samples is None and extra.data is not None:
        options = replace(options, samples=artifacts.samples(extra.data, identity, SAMPLES))
    work = Work(identity, options, progress or (lambda step: None))
    module = work.module()
    if not work.proofs[0].holds:
        return work.report(None)
    forward, feed = work.prepare(module)
    if not work.proofs[0].holds:
        return work.report(None)
    with bundle.Staging(target, force) as staging:
        made = work.convert(forward, feed, staging.folder)
        if made is None:
            if options.explain:
                work.explain(forward, feed, target)
            return work.report(None)
        if not work.add(extra, forward, staging.folder):
            return work.report(None)
        work.write_documents(staging.folder, target.name, forward, made)
        work.progress("putting the bundle in its place")
        folder = staging.folder
        files = {name: (folder / name).stat().st_size for name in documents.files_of(folder)}
        staging.commit()
    return work.report(target, files)
