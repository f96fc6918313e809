"""Our safetensors writer against the library's own reader."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from interop.errors import ModelError
from interop.export.weights import ALIGNMENT, DTYPES, write


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=12).filter(lambda n: n != "__metadata__" and n.isprintable()),
        st.tuples(
            st.lists(st.integers(0, 4), max_size=3),
            st.sampled_from([d for d in DTYPES if d != torch.complex64]),
        ),
        max_size=6,
    ),
    st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3),
)
def test_the_library_reads_back_what_was_written(tmp_path_factory, tensors, metadata):
    path = tmp_path_factory.mktemp("w") / "a.safetensors"
    state = {
        name: torch.randint(0, 2, shape, dtype=torch.int64).to(dtype)
        for name, (shape, dtype) in tensors.items()
    }
    places = write(path, state, metadata)
    data = path.read_bytes()
    found = load_file(path)
    assert found.keys() == state.keys()
    for name, tensor in state.items():
        flat = tensor.contiguous().reshape(-1).view(torch.uint8)
        assert torch.equal(found[name].reshape(-1).view(torch.uint8), flat)
        assert (found[name].dtype, found[name].shape) == (tensor.dtype, tensor.shape)
        place = places[name]
        assert data[place.offset : place.offset + place.length] == bytes(flat.tolist())
        assert place.offset % tensor.element_size() == 0
    assert (8 + int.from_bytes(data[:8], "little")) % ALIGNMENT == 0


def test_the_order_of_names_and_metadata_does_not_matter(tmp_path):
    state = {"b": torch.ones(3), "a": torch.ones(2, dtype=torch.int64), "c": torch.ones(1)}
    about = {"z": "1", "format": "pt"}
    write(tmp_path / "one", state, about)
    write(tmp_path / "two", dict(reversed(state.items())), dict(reversed(about.items())))
    data = (tmp_path / "one").read_bytes()
    assert data == (tmp_path / "two").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert list(header) == ["__metadata__", "a", "b", "c"]


def test_tied_and_strided_tensors_are_written_in_full(tmp_path):
    base = torch.arange(12.0).reshape(3, 4)
    write(tmp_path / "a", {"w": base, "tied": base, "turned": base.t()}, {})
    found = load_file(tmp_path / "a")
    assert torch.equal(found["tied"], base)
    assert torch.equal(found["turned"], base.t())


def test_a_dtype_that_the_format_lacks_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="complex128"):
        write(tmp_path / "a", {"w": torch.ones(2, dtype=torch.complex128)}, {})
