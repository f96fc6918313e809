"""`interop export CHECKPOINT`: ONNX and safetensors, with proof that nothing changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from interop.cli.output import (
    SAMPLES,
    check_targets,
    fetching,
    finish,
    interface_options,
    need_torch_side,
    progress,
    progress_done,
    report_options,
)
from interop.facts import Case, Labels, Preprocessing
from interop.identity import identify_file, split_place
from interop.rules import run


@click.command(
    name="export",
    epilog="""\b
Example:
  interop export model.pth
  interop export train.pth#ema -o candidate --data heldout
  interop export mine.pth --model mypackage.nets:make_net

Exit code 1, and no bundle, where one of the five proofs fails.""",
)
@click.argument("checkpoint")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="The bundle's folder.  [default: the checkpoint's name without its ending]",
)
@click.option(
    "--data", metavar="DIR", help="Class folders of pictures: parity is proved on real samples."
)
@click.option(
    "--model",
    "factory",
    metavar="MODULE:FACTORY",
    help="Your own function that makes the module. It is your code, and it is run.",
)
@click.option(
    "--head",
    metavar="MODULE:FACTORY",
    help="Your own function that makes the head alone, where it has several layers.",
)
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True,
              help="Where parity is proved.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@interface_options
@report_options
def command(
    checkpoint: str,
    out: Path | None,
    data: str | None,
    factory: str | None,
    head: str | None,
    device: str,
    force: bool,
    arch: str | None,
    labels: Labels | None,
    preprocess: Preprocessing | None,
    form: str,
    reports: tuple[str, ...],
) -> None:
    """Turn CHECKPOINT into a bundle: model.onnx, model.safetensors, config, receipt, card.

    For a torchvision classifier nothing else is needed: architecture and head are
    inferred, labels and preprocessing come from the checkpoint or are recorded as
    unknown. The bundle counts only if five proofs hold; they are printed.
    """
    check_targets(reports, checkpoint)
    fetching(progress)
    identity = identify_file(
        checkpoint,
        content_hash=True,
        whole=True,
        arch=arch,
        labels=labels,
        preprocessing=preprocess,
    )
    need_torch_side("export")
    from interop.export import export

    for code in (factory, head):
        if code:
            click.echo(f"running {code}: your own code", err=True)
    samples = None
    if data is not None:
        from interop.data import Folder
        from interop.errors import ConfigError

        if identity.preprocessing is None:
            raise ConfigError(
                "--data needs to know how inputs are prepared", fix="give --preprocess"
            )
        samples = Folder(data, identity.labels.names).spread(identity.preprocessing, SAMPLES)
    target = out or _named_after(Path(split_place(checkpoint)[0]))
    report = export(
        identity,
        target,
        device=device,
        factory=factory,
        head=head,
        samples=samples,
        force=force,
        progress=progress,
    )
    progress_done()
    found, _ = run(Case(proofs=report.proofs))
    finish(replace(report, findings=(*report.findings, *found)), form, reports)


def _named_after(source: Path) -> Path:
    """A folder here of the checkpoint's name without its ending; never the source itself."""
    name = source.resolve().name.split(".")[0] or "model"
    return Path(f"{name}-exported" if source.resolve() == Path(name).resolve() else name)
