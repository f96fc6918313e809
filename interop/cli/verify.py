"""`interop verify ARTEFACT`: does it compute what its source does?"""

from __future__ import annotations

import click

from interop.cli.options import options as options_of
from interop.cli.options import report_options
from interop.cli.output import check_targets, finish, progress, say, say_own_code
from interop.verify.options import VerifyOptions


@click.command(
    name="verify",
    epilog="""\b
Example:
  interop verify candidate/                        a bundle of interop export
  interop verify model.onnx --against model.pth
  interop verify onnx/ --against finetuned/        a folder of transformers
  interop verify slim.onnx --against model.onnx    what an optimiser made
  interop verify int8.onnx --against model.onnx --budget drift=0.1,flips=1%
  interop verify net.onnx --against net.pth --model mypackage.nets:make_net
  interop verify probs.onnx --against net.pth --map-output 'p=softmax(logits)'

\b
Exit code 1 where a proof fails, 2 where the artefact or its source cannot be
read, built or matched, 3 where a proof cannot be made.""",
)
@click.argument("artefact", type=click.Path(exists=True))
@options_of(
    VerifyOptions,
    only=(
        "against", "map_input", "map_output", "budgets", "explain_out", "factory", "head", "base",
        "inputs", "data", "labels", "preprocessing", "arch", "runtime", "device", "strict", "trust",
    ),
)  # fmt: skip
@report_options
def command(artefact: str, options: VerifyOptions, form: str, reports: tuple[str, ...]) -> None:
    """Prove that an ARTEFACT computes what its source does.

    ARTEFACT is a bundle, or what any tool wrote: an ONNX graph, a .pt2, a TorchScript file
    (--trust), an OpenVINO IR. A bundle knows its source; of anything else, say it with --against.

    Six proofs are made: the source's weights fill its module; every weight of the artefact is one
    of the source's, or made of some by a step that is named; both answer alike at every size that
    the artefact leaves open; that comparison notices a change of 1 %; the artefact is sound; its
    names, types, labels and preprocessing are the source's. A proof that fails is followed by the
    first node that departs.
    """
    check_targets(reports)
    from interop import api

    say_own_code(options.factory, options.head)
    finish(api.verify(artefact, options, progress=progress, log=say), form, reports)
