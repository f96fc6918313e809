"""All that the phases of one training share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from interop.data.base import Preparation
from interop.facts import Identity
from interop.finetune import objectives
from interop.finetune.forward import ModuleRunner
from interop.finetune.options import FinetuneOptions
from interop.finetune.resume import Kept
from interop.finetune.samples import SplitPart
from interop.models.backbone import Backbone, PretrainedSource

Say = Callable[[str], None]


@dataclass(slots=True)
class FinetuneRun:
    """All that the phases of one training share."""

    how: FinetuneOptions
    source: PretrainedSource
    task: str
    labels: tuple[str, ...]
    outputs: int
    backbone: Backbone
    identity: Identity
    prepare: Preparation
    training: SplitPart
    validation: SplitPart
    goal: objectives.OfTask
    kept: Kept
    say: Say
    log: Say

    @property
    def head(self) -> frozenset[str]:
        return head_names(self.backbone, self.source)

    def runner(self, module: nn.Module | None = None) -> ModuleRunner:
        module = self.backbone.module if module is None else module
        return ModuleRunner(module, self.how.device, self.how.precision)


def head_names(backbone: Backbone, source: PretrainedSource) -> frozenset[str]:
    """The parameters that are new: what a probe trains. Of a backbone drawn at random it is the
    head, as of all others."""
    module: Any = backbone.module
    names = {n for n, _ in module.named_parameters()}
    under = {n for n in names if n == backbone.head or n.startswith(f"{backbone.head}.")}
    if source.random and backbone.factory is not None:
        return frozenset(under)
    if source.random and source.library == "transformers":
        front = f"{module.base_model_prefix}."
        return frozenset(n for n in names if not n.startswith(front))
    return frozenset(names & set(backbone.fresh) | under)
