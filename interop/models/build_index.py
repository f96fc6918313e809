"""torchvision's classification models -> the index by which `identity` knows a bare state dict.

    python -m interop.models.build_index [OUT.json]

Each model is built without its weights' memory; what is kept is hashes of names and shapes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from interop.identity.index import STORED, module_sums

_WORD = (1 << 64) - 1
# Side branches that exist for training alone and that people leave out of what they save.
AUXILIARY = ("AuxLogits", "aux1", "aux2")


def build_index(names: list[str] | None = None) -> dict[str, Any]:
    """The index document for the named torchvision classification models (all, by default).

    For every architecture: the path of its head, and the backbone's sum of hashes for each module
    on the way to the head that a person may replace ("classifier.6", "classifier").
    """
    import torch
    import torchvision

    entries: dict[str, Any] = {}
    for name in names or torchvision.models.list_models(module=torchvision.models):
        shapes = state_dict_shapes(name)
        head = head_path(shapes)
        sums = module_sums(shapes.items())
        body = sums[""] - sum(sums.get(path, 0) for path in AUXILIARY)
        parts = head.split(".")
        paths = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
        backbones: dict[str, str] = {}
        for path in paths:
            backbones[path] = f"{(body - sums[path]) & _WORD:016x}"
        entries[f"torchvision/{name}"] = {"head": head, "backbones": backbones}
    return {
        "built_from": {
            "torchvision": torchvision.__version__.split("+")[0],
            "torch": torch.__version__.split("+")[0],
        },
        "auxiliary": list(AUXILIARY),
        "twins": {},
        "architectures": entries,
    }


def state_dict_shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a torchvision model's state dict, in definition order."""
    import torch
    import torchvision
    from torch.overrides import TorchFunctionMode

    class EmptyOnMeta(TorchFunctionMode):
        """Weights take no memory; the numbers that a constructor computes with stay real."""

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            kwargs = dict(kwargs or {})
            if func is torch.empty:
                kwargs["device"] = "meta"
            return func(*args, **kwargs)

    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with EmptyOnMeta():
        module = torchvision.models.get_model(name, weights=None, **options)
    return {k: tuple(v.shape) for k, v in module.state_dict().items()}


def head_path(shapes: dict[str, tuple[int, ...]]) -> str:
    """The module of the last weight of two or more dimensions in definition order."""
    last = [name for name, shape in shapes.items() if len(shape) >= 2][-1]
    return last.rpartition(".")[0]


def main() -> None:
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else STORED
    document = build_index()
    out.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{out.name}: {len(document['architectures'])} architectures, {out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
