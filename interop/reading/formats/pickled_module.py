"""A file that holds a whole pickled module -> that module's records, while the file is open.

The Manifest has of it what a report needs; who rebuilds the module needs every attribute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from interop.facts import TensorSpec
from interop.reading.bytes.source import Source
from interop.reading.formats import torch_legacy, torch_zip
from interop.reading.pickle.modules import module_at
from interop.reading.pickle.records import Broken, Constructed, Tensor
from interop.reading.pickle.state_dicts import tensor_spec

SpecOf = Callable[[Tensor], TensorSpec]


@contextmanager
def opened(path: str, place: str) -> Iterator[tuple[Constructed, SpecOf] | None]:
    """The module at a place of a file that `interop.reading.read` has taken.

    Also: what gives the facts of one of its tensors. None if there is no module at that place.
    Raises ReadError if the file is no longer as it was read.
    """
    with Source(path) as source:
        form = torch_zip if source.data[:2] == b"PK" else torch_legacy
        try:
            root, locate = form.tree(source)
        except (Broken, RecursionError):
            root, locate = None, None
        module = module_at(root, place)
        if module is None or locate is None:
            yield None
        else:
            yield module, lambda tensor: tensor_spec("", tensor, locate)
