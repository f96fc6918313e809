"""Modules as people write them: attention and padding, packed sequences, inputs and outputs in
dicts, lists and named tuples. Each bundle is compared with a fresh native module."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch
from torch.nn.utils.rnn import PackedSequence

from interop.errors import first_line, without_folders
from interop.export import attention, budget, routes
from interop.export.recurrent import WithPacked
from interop.models import call_by_path
from tests.helpers.commands import here

CODE = '''
import dataclasses
from typing import NamedTuple, Optional
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence as pack, pad_packed_sequence as pad

class Encoder(nn.Module):
    """Per-token answers, with padding: the fast path gives zeros at padded places."""
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(50, 16, padding_idx=0)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.t, self.o = nn.TransformerEncoder(layer, 1, norm=nn.LayerNorm(16)), nn.Linear(16, 3)
    def forward(self, ids):
        return self.o(self.t(self.e(ids), src_key_padding_mask=ids == 0))

class OddHeads(Encoder):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(50, 15, padding_idx=0)
        layer = nn.TransformerEncoderLayer(15, 3, 32, batch_first=True, norm_first=True)
        self.t, self.o = nn.TransformerEncoder(layer, 1), nn.Linear(15, 3)

class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerDecoderLayer(16, 2, 32, batch_first=True)
        self.d, self.e = nn.TransformerDecoder(layer, 1), nn.Embedding(30, 16)
        self.o = nn.Linear(16, 30)
    def forward(self, tgt, memory):
        mask = nn.Transformer.generate_square_subsequent_mask(tgt.shape[1])
        return self.o(self.d(self.e(tgt), memory, tgt_mask=mask))

class Causal(nn.Module):
    kept, slope = True, 0.0
    def __init__(self):
        super().__init__()
        self.e, self.q, self.o = nn.Embedding(40, 16), nn.Linear(16, 48), nn.Linear(16, 40)
        i = torch.arange(24)
        mask = (self.slope * (i[None] - i[:, None])).float()
        mask = mask.masked_fill(i[None] > i[:, None], float("-inf"))
        self.register_buffer("mask", mask, persistent=self.kept)
    def forward(self, ids):
        q, k, v = self.q(self.e(ids)).chunk(3, -1)
        t = ids.shape[1]
        return self.o((q @ k.transpose(1, 2) / 4 + self.mask[:t, :t]).softmax(-1) @ v)

class CausalConstant(Causal):
    kept = False

class Alibi(Causal):
    slope = 0.3

class Packed(nn.Module):
    """A tagger: all outputs of packed sequences."""
    kind, ordered = nn.LSTM, False
    def __init__(self):
        super().__init__()
        self.r = self.kind(5, 6, batch_first=True, bidirectional=True)
        self.o = nn.Linear(12, 4)
    def forward(self, x, lengths):
        packed = pack(x, lengths.cpu(), batch_first=True, enforce_sorted=self.ordered)
        return self.o(pad(self.r(packed)[0], batch_first=True, total_length=x.shape[1])[0])

class PackedGru(Packed):
    kind = nn.GRU

class PackedSorted(Packed):
    ordered = True

class LastState(nn.Module):
    """A classifier: the last state of packed sequences alone."""
    def __init__(self):
        super().__init__()
        self.r, self.o = nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 4)
    def forward(self, x, lengths):
        packed = pack(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        return self.o(self.r(packed)[1][0][-1])

class ListedLengths(LastState):
    """A real decision on values: the lengths become numbers of Python."""
    def forward(self, x, lengths):
        packed = pack(x, lengths.tolist(), batch_first=True, enforce_sorted=False)
        return self.o(self.r(packed)[1][0][-1])

class Crnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d((8, 2)))
        self.r, self.o = nn.LSTM(8, 6, bidirectional=True), nn.Linear(12, 10)
    def forward(self, x):
        return self.o(self.r(self.c(x).squeeze(2).permute(2, 0, 1))[0]).log_softmax(-1)

class Answer(NamedTuple):
    logits: torch.Tensor
    weights: torch.Tensor
    aux: Optional[torch.Tensor]

class Pooled(nn.Module):
    """An optional mask, which is not the second argument, and a named tuple."""
    def __init__(self):
        super().__init__()
        self.e, self.a, self.o = nn.Linear(6, 8), nn.Linear(8, 1), nn.Linear(8, 3)
    def forward(self, x, temperature=1.0, mask=None):
        h = torch.tanh(self.e(x))
        a = self.a(h).squeeze(-1) / temperature
        if mask is not None:
            a = a.masked_fill(~mask, float("-inf"))
        w = a.softmax(-1)
        return Answer(self.o((w.unsqueeze(-1) * h).sum(1)), w, None)

@dataclasses.dataclass
class Whole:
    scores: torch.Tensor
    loss: Optional[torch.Tensor] = None

class Pair(NamedTuple):
    image: torch.Tensor
    meta: torch.Tensor

class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.m = nn.Conv2d(3, 8, 3), nn.Linear(4, 8)
    def both(self, image, meta):
        return self.c(image).mean((2, 3)) + self.m(meta)
    def forward(self, batch):
        return {"logits": self.both(batch["image"], batch["meta"])}

class Attributes(Both):
    def forward(self, batch):
        return Whole(self.both(batch.image, batch.meta))

class Tuple(Both):
    def forward(self, batch: Pair):
        image, meta = batch
        return self.both(image, meta), {"meta": meta * 2}

class Nested(Both):
    def forward(self, batch):
        first, second = batch["views"]
        return self.both(first["image"] - second["image"], batch["meta"])

class Keywords(Both):
    def forward(self, **batch):
        return self.both(batch["image"], batch["meta"])

class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.h = nn.ModuleList(nn.Conv2d(8, 4, 1) for _ in range(2))
    def forward(self, feats):
        return [h(f) for h, f in zip(self.h, feats)]

class Indexed(Heads):
    def forward(self, feats):
        return self.h[0](feats[0]), self.h[1](feats[1])

class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.GRUCell(5, 6)
    def forward(self, x):
        h = x.new_zeros(x.shape[0], 6)
        for t in range(x.shape[1]):
            h = self.c(x[:, t], h)
        return h

class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.o = nn.Linear(192, 2)
    def forward(self, x):
        return self.o(x.flatten(1))

class Square(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.o = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(36, 2)
    def forward(self, x):
        return self.o(nn.functional.adaptive_avg_pool2d(self.c(x), 3).flatten(1))
'''
IMAGE, META = "image=float32(batch,3,8,8)", "meta=float32(batch,4)"
LENGTHS = ("x=float32(batch,t:9,5)", "lengths=int64<9(batch)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("modules")
    (path / "nets.py").write_text(CODE)
    return path


@pytest.fixture
def exported(folder, tmp_path):
    """A class of CODE as a fresh module, and what `interop export` said of it."""

    def make(name: str, *specs: str, change=lambda state: state):
        torch.manual_seed(0)
        module = call_by_path(f"{folder}/nets.py:{name}").eval()
        torch.save(change(module.state_dict()), tmp_path / "net.pth")
        inputs = [word for spec in specs for word in ("--input", spec)]
        done = here(
            "export", tmp_path / "net.pth", "-o", tmp_path / "out", "--force",
            "--model", f"{folder}/nets.py:{name}", *inputs,
        )  # fmt: skip
        return module, done

    return make


def receipt(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "out" / "interop.json").read_text())


def agrees(module, folder: Path, arguments, given: dict[str, torch.Tensor]) -> None:
    session = onnxruntime.InferenceSession(folder / "out" / "model.onnx")
    assert sorted(i.name for i in session.get_inputs()) == sorted(given)
    ours = session.run(None, {name: t.numpy() for name, t in given.items()})
    with torch.no_grad():
        wanted = module(*arguments) if isinstance(arguments, tuple) else module(**arguments)
    wanted = [t for t in torch.utils._pytree.tree_leaves(_plain(wanted)) if t is not None]
    assert len(ours) == len(wanted)
    for a, b in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-4, atol=1e-5)


def _plain(value):
    return vars(value) if hasattr(value, "__dataclass_fields__") else value


# ---------------------------------------------------------------- attention, and masks of -inf


@pytest.mark.parametrize("name", ["Encoder", "OddHeads"])
def test_padding_at_the_end_is_what_the_fast_path_makes_of_it(exported, tmp_path, name):
    module, done = exported(name, "ids=int64<50(batch,sequence:10)")
    assert done.returncode == 0, done.stdout
    for batch, length in ((1, 10), (3, 10), (2, 17)):
        ids = torch.randint(1, 50, (batch, length))
        ids[0, length - 3 :] = 0
        agrees(module, tmp_path, (ids,), {"ids": ids})
    ids[-1, 4] = 0  # not at the end: then the fast path is not taken
    agrees(module, tmp_path, (ids,), {"ids": ids})


def test_a_mask_that_forward_generates_leaves_the_axes_open(exported, tmp_path):
    module, done = exported("Decoder", "tgt=int64<30(batch,t:7)", "memory=float32(batch,s:5,16)")
    assert done.returncode == 0, done.stdout
    for batch, t, s in ((1, 7, 5), (3, 9, 4)):
        tgt, memory = torch.randint(0, 30, (batch, t)), torch.randn(batch, s, 16)
        agrees(module, tmp_path, (tgt, memory), {"tgt": tgt, "memory": memory})


@pytest.mark.parametrize("name", ["Causal", "CausalConstant", "Alibi"])
def test_a_mask_of_minus_infinity_is_a_constant(exported, tmp_path, name):
    module, done = exported(name, "ids=int64<40(batch,t:12)")
    assert done.returncode == 0, done.stdout
    ids = torch.randint(0, 40, (2, 20))
    agrees(module, tmp_path, (ids,), {"ids": ids})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_weight_that_is_not_finite_is_refused_by_its_name(exported, value):
    def broken(state):
        state["o.bias"][0] = value
        return state

    _, done = exported("Causal", "ids=int64<40(batch,t:12)", change=broken)
    assert done.returncode == 1
    assert "weights that are not finite: o.bias" in " ".join(done.stdout.split())


def test_a_mask_of_nan_is_refused(exported):
    def broken(state):
        state["mask"][0, 1] = float("nan")
        return state

    _, done = exported("Causal", "ids=int64<40(batch,t:12)", change=broken)
    assert done.returncode == 1


def test_the_fast_path_is_as_it_was_afterwards():
    whole = torch.nn.TransformerEncoder.forward
    with pytest.raises(ValueError, match="stop"), attention.without_fast_path():
        assert not torch.backends.mha.get_fastpath_enabled()
        raise ValueError("stop")
    assert torch.backends.mha.get_fastpath_enabled()
    assert torch.nn.TransformerEncoder.forward is whole


# ---------------------------------------------------------------- recurrent layers


@pytest.mark.parametrize("name", ["Packed", "PackedGru", "PackedSorted", "LastState"])
def test_packed_sequences_hold_at_other_lengths(exported, tmp_path, name):
    module, done = exported(name, *LENGTHS)
    assert done.returncode == 0, done.stdout
    assert "lengths was drawn from 1 to the size of t" in " ".join(done.stdout.split())
    assert receipt(tmp_path)["route"] == "torchscript"
    for batch, t in ((1, 9), (3, 5), (4, 13)):
        x = torch.randn(batch, t, 5)
        lengths = torch.randint(1, t + 1, (batch,)).sort(descending=True).values
        agrees(module, tmp_path, (x, lengths), {"x": x, "lengths": lengths})


def test_lengths_that_become_numbers_of_python_are_refused(exported):
    _, done = exported("ListedLengths", *LENGTHS)
    assert done.returncode == 1
    assert "decides in Python on its input's values" in " ".join(done.stdout.split())


def test_a_recurrent_layer_leaves_its_length_open(exported, tmp_path):
    module, done = exported("Crnn", "x=float32(batch,1,8,width:40)")
    assert done.returncode == 0, done.stdout
    assert receipt(tmp_path)["attempts"] == []
    for width in (40, 64, 17):
        x = torch.randn(2, 1, 8, width)
        agrees(module, tmp_path, (x,), {"x": x})
    (axis,) = [d for d in receipt(tmp_path)["domain"] if d["name"] == "width"]
    assert axis["state"] == "open" and not axis["max"]


def test_what_is_traced_beside_the_outputs_is_the_packed_sequence():
    class Gives(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.r = torch.nn.GRU(2, 3)

        def forward(self, x):
            packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor([4, 2]))
            assert isinstance(packed, PackedSequence)
            return (self.r(packed)[1],)

    last, padded = WithPacked(Gives())(torch.randn(4, 2, 2))
    assert last.shape == (1, 2, 3) and padded.shape == (4, 2, 3)


# ---------------------------------------------------------------- inputs and outputs


def test_an_optional_mask_is_given_by_its_name_or_left_out(exported, tmp_path):
    specs = "x=float32(batch,n:7,6)", "mask=bool(batch,n:7)"
    module, done = exported("Pooled", *specs)
    assert done.returncode == 0, done.stdout
    assert receipt(tmp_path)["outputs"] == ["logits", "weights"]
    x, mask = torch.randn(2, 11, 6), torch.rand(2, 11) > 0.3
    agrees(module, tmp_path, {"x": x, "mask": mask}, {"x": x, "mask": mask})
    module, done = exported("Pooled", specs[0])
    assert done.returncode == 0
    agrees(module, tmp_path, (x,), {"x": x})


@pytest.mark.parametrize(
    ("name", "prefix", "outputs"),
    [
        ("Both", "", ["logits"]),
        ("Both", "batch.", ["logits"]),
        ("Attributes", "batch.", ["scores"]),
        ("Tuple", "batch.", ["output_0", "output_1.meta"]),
        ("Keywords", "", ["output"]),
    ],
)
def test_a_dict_is_built_of_its_entries(exported, folder, tmp_path, name, prefix, outputs):
    module, done = exported(name, prefix + IMAGE, prefix + META)
    assert done.returncode == 0, done.stdout
    assert receipt(tmp_path)["outputs"] == outputs
    said = "forward takes one argument: image and meta were given to it in a dict, batch"
    assert (said in " ".join(done.stdout.split())) is (name == "Both" and not prefix)
    image, meta = torch.randn(3, 3, 8, 8), torch.randn(3, 4)
    given = {f"{prefix}image": image, f"{prefix}meta": meta}
    arguments = {"image": image, "meta": meta}
    if name != "Keywords":
        kind = SimpleNamespace if name == "Attributes" else dict
        batch = (image, meta) if name == "Tuple" else kind(**arguments)
        arguments = {"batch": batch}
    agrees(module, tmp_path, arguments, given)
    verified = here("verify", tmp_path / "out", "--model", f"{folder}/nets.py:{name}")
    assert verified.returncode == 0, verified.stdout
    alone = here("verify", tmp_path / "out")  # without the code: unknown, and no proof fails
    assert alone.returncode == 3, alone.stdout


def test_entries_may_lie_deeper(exported, tmp_path):
    specs = [f"batch.views[{i}].{IMAGE}" for i in range(2)]
    module, done = exported("Nested", *specs, f"batch.{META}")
    assert done.returncode == 0, done.stdout
    a, b, meta = torch.randn(2, 3, 8, 8), torch.randn(2, 3, 8, 8), torch.randn(2, 4)
    given = {"batch.views[0].image": a, "batch.views[1].image": b, "batch.meta": meta}
    agrees(module, tmp_path, ({"views": [{"image": a}, {"image": b}], "meta": meta},), given)


@pytest.mark.parametrize("name", ["Heads", "Indexed"])
def test_a_list_is_described_entry_by_entry(exported, tmp_path, name):
    module, done = exported(name, "feats[0]=float32(batch,8,6,6)", "feats[1]=float32(batch,8,3,3)")
    assert done.returncode == 0, done.stdout
    maps = [torch.randn(2, 8, 6, 6), torch.randn(2, 8, 3, 3)]
    agrees(module, tmp_path, (maps,), {"feats[0]": maps[0], "feats[1]": maps[1]})


@pytest.mark.parametrize("name", ["Heads", "Indexed"])
def test_one_tensor_for_a_list_is_refused_with_the_way_to_describe_it(exported, name):
    _, done = exported(name, "feats=float32(batch,8,6,6)")
    assert done.returncode == 2
    assert "--input 'feats[0]=…' --input 'feats[1]=…'" in done.stderr


def test_inputs_that_forward_does_not_take_are_refused_with_those_that_it_takes(exported):
    _, done = exported("Packed", LENGTHS[0])
    assert done.returncode == 2
    assert "forward takes x, lengths, and is given x" in done.stderr
    assert "--input 'lengths=" in done.stderr


def test_an_axis_that_python_loops_over_is_said_to_be_fixed_by_that(exported):
    _, done = exported("Cell", "x=float32(batch,t:4,5)")
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert "t is fixed at 4: the module's Python code depends on this size" in said


def test_an_axis_that_the_module_itself_fixes_is_said_to_be(exported):
    _, done = exported("Flat", "x=float32(batch,3,height:8,width:8)")
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert "height and width are fixed at 8: the module itself takes no other size" in said


def test_a_fixed_axis_is_said_with_its_reason(exported, tmp_path):
    module, done = exported("Square", "x=float32(batch,3,height:16,width:16)")
    assert done.returncode == 0, done.stdout
    said = " ".join(done.stdout.split())
    assert "height and width are fixed at 16: ONNX has no operator for adaptive_avg_pool2d" in said
    assert "height and width are fixed at 16" in (tmp_path / "out" / "README.md").read_text()
    x = torch.randn(2, 3, 16, 16)
    agrees(module, tmp_path, (x,), {"x": x})


# ---------------------------------------------------------------- time


def test_what_two_routes_raised_is_not_tried_a_third_time():
    by_name = {r.name: r for r in routes.ROUTES}
    first, last = by_name["dynamo"], by_name["dynamo, fixed shapes"]
    assert not routes.doomed(by_name["dynamo, open batch"], [(first, "no such operator")])
    assert routes.doomed(by_name["dynamo, optimised"], [(first, "no such operator")])
    twice = [(first, "no operator"), (by_name["dynamo, open batch"], "no operator")]
    assert routes.doomed(last, twice)
    assert not routes.doomed(by_name["torchscript"], twice)
    # Without open axes there is nothing left that this could be about.
    assert not routes.doomed(last, [(r, "dynamic dim 0") for r, _ in twice])


def test_a_route_ends_with_its_budget():
    with pytest.raises(budget.OutOfTime), budget.limited(0.05):
        while True:
            pass
    with budget.limited(30):
        pass


def test_the_report_shows_how_long_a_route_took(exported, monkeypatch):
    monkeypatch.setattr(routes, "SECONDS", 0.0)
    _, done = exported("Decoder", "tgt=int64<30(batch,7)", "memory=float32(batch,5,16)")
    assert done.returncode == 1
    assert "it took longer than its budget of 0 s" in " ".join(done.stdout.split())


# ---------------------------------------------------------------- what an error says


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("Load model from /tmp/a-1/model.onnx failed", "Load model from model.onnx failed"),
        ("see https://github.com/pytorch/pytorch/issues", "see https://github.com/pytorch/pytorch/issues"),
        ("3 / 4 and b/c", "3 / 4 and b/c"),
    ],
)  # fmt: skip
def test_an_error_of_a_library_names_no_folder(text, plain):
    assert without_folders(text) == plain
    assert first_line(RuntimeError(f"{text}\nmore")) == plain


def test_an_error_without_words_is_its_class():
    assert first_line(KeyError()) == "KeyError"
