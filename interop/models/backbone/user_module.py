"""A person's own function that makes the new task's module -> that module with a file's weights.

What the two have under the same name and in the same shape is the backbone; all the rest has to be
one part of the module, its head.
"""

from __future__ import annotations

from interop.errors import ModelError
from interop.models.initialize import fill
from interop.models.pretrained import Backbone, PretrainedSource
from interop.models.user_code import module_by_path
from interop.models.weights import state_dict


def under_head(source: PretrainedSource, factory: str) -> Backbone:
    """Raises ModelError where nothing pairs, or what does not pair is more than one part."""
    module = module_by_path(factory).requires_grad_(True)
    target = module.state_dict()
    if source.random:
        from interop.models.backbone.vision import drawn

        return Backbone(module.eval(), _last(module), tuple(target), drawn(factory), (), factory)
    given = state_dict(source.identity.tensors, source.identity.manifest.path)
    new = [n for n in target if n not in given or given[n].shape != target[n].shape]
    new = [n for n in new if not n.endswith("num_batches_tracked")]
    head = _common(new)
    if len(new) == len(target) or (new and not head):
        raise ModelError(
            f"{len(target) - len(new)} of the module's {len(target)} tensors are among the "
            "weights, and what is not is no single part of it: "
            + ", ".join(new[:4]) + (", …" if len(new) > 4 else ""),
            where=source.name,
            fix="let the factory name the backbone's parts as the file does, and hold all that is "
            "new in one submodule",
            rule="loaded-fraction-low",
        )  # fmt: skip
    fresh, proof = fill(module, given, new=[head] if head else [])
    return Backbone(module.eval(), head or _last(module), fresh, proof, (), factory)


def _common(names: list[str]) -> str:
    """The path of the module that all of some tensors lie in; "" where that is the whole."""
    shared: list[str] = []
    for step in zip(*(n.split(".")[:-1] for n in names), strict=False):
        if len(set(step)) > 1:
            break
        shared.append(step[0])
    return ".".join(shared)


def _last(module: object) -> str:
    """The last layer that has weights."""
    from torch import nn

    assert isinstance(module, nn.Module)
    paths = [n for n, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d) and n]
    return paths[-1] if paths else ""
