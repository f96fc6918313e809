"""An Identity and a person's own factory -> the Identity under the factory's name.

For checkpoints of somebody's own class, which no index holds. The factory is run.
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from interop.errors import ModelError
from interop.facts import Architecture, Head, Identity
from interop.models.build import call_by_path


def name_by_factory(identity: Identity, factory: str) -> Identity:
    """Say that the file is of the factory's module, once its names and shapes prove it.

    The head is the module's last linear layer where it has one. Raises ModelError where the file's
    tensors are not the module's, or the factory fails.
    """
    module = call_by_path(factory)
    if not isinstance(module, nn.Module):
        raise ModelError(f"gave {type(module).__name__}, no torch.nn.Module", where=factory)
    wanted = {name: tuple(t.shape) for name, t in module.state_dict().items()}
    there = {t.name: t.shape for t in identity.tensors}
    strange = [n for n in {**wanted, **there} if wanted.get(n) != there.get(n)]
    if strange:
        raise ModelError(
            f"{len(strange)} of its tensors are not those of {factory}: {', '.join(strange[:3])}",
            where=identity.manifest.path,
            fix="give the factory with the arguments that the file was trained with",
        )
    return replace(
        identity,
        architectures=(Architecture(factory, f"--model {factory}"),),
        ambiguity="",
        head=_head(module) or identity.head,
    )


def _head(module: nn.Module) -> Head | None:
    """The last layer with weights in definition order, where it is a linear one."""
    layers = [
        (n, m) for n, m in module.named_modules() if next(m.parameters(False), None) is not None
    ]
    if not layers or not isinstance(layers[-1][1], nn.Linear) or not layers[-1][0]:
        return None
    path, last = layers[-1]
    names = tuple(f"{path}.{n}" for n, _ in last.named_parameters(recurse=False))
    return Head(
        path, "linear", last.in_features, last.out_features, names, "the module's last layer"
    )
