"""The table of formats: what each container is, the module that reads it, and how its bytes look.

`interop.reading.read` goes by this table and nothing else; the README's list is made from it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import NamedTuple

from interop.errors import ExtraMissing


class Format(NamedTuple):
    """One container.

    `container` is its name in a Manifest, `what` one line for people, `files` what such files are
    called, `module` the reader in this package, `extra` the extra of the distribution that holds
    the library it needs, if any.
    """

    container: str
    what: str
    files: str
    module: str
    extra: str = ""


FORMATS: tuple[Format, ...] = (
    Format("torch-zip", "PyTorch checkpoint (torch.save since 1.6)", ".pth .pt .bin .ckpt .th",
           "torch_zip"),
    Format("torch-legacy", "PyTorch checkpoint before 1.6, Python 2's too", ".pth .pt .pth.tar",
           "torch_legacy"),
    Format("torchscript", "TorchScript archive", ".pt .ts", "torch_zip"),
    Format("pickle", "bare pickle, protocols 0 to 5", ".pkl .pickle", "torch_legacy"),
    Format("safetensors", "safetensors, one file or shards with their index", ".safetensors",
           "safetensors"),
    Format("onnx", "ONNX, weights embedded or beside it", ".onnx", "onnx"),
    Format("exported-program", "PyTorch exported program (torch.export)", ".pt2",
           "exported_program"),
    Format("distributed", "torch.distributed.checkpoint", "folder with .metadata", "distributed"),
    Format("keras", "Keras 3 archive", ".keras", "keras", "keras"),
    Format("hdf5", "Keras model or weights in HDF5", ".h5 .hdf5", "keras", "keras"),
    Format("tensorflow-checkpoint", "TensorFlow checkpoint", ".index beside .data-00000-of-00001",
           "tensorflow"),
    Format("saved-model", "TensorFlow SavedModel", "folder with saved_model.pb", "tensorflow"),
    Format("numpy", "numpy array or archive of them", ".npy .npz", "numpy_archive"),
)  # fmt: skip
_BY_NAME = {one.container: one for one in FORMATS}


def reader(container: str) -> ModuleType:
    """The module that reads a container, loaded now."""
    return import_module(f"interop.reading.formats.{_BY_NAME[container].module}")


def need(library: str, container: str, path: str) -> None:
    """Raises ExtraMissing where the library that a container is read with is not installed."""
    if find_spec(library) is None:
        one = _BY_NAME[container]
        raise ExtraMissing(
            f"is a {one.what}: reading it needs {library}, which is not installed",
            where=path,
            fix=f"pip install 'model-interop[{one.extra}]'",
        )
