"""A bundle states the sizes that it was proved for, and is the module at all of them."""

from __future__ import annotations

import itertools
import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from interop.bench import runners
from interop.errors import ModelError, ReadError
from interop.export import ExportOptions, export
from interop.export import pipeline as works
from interop.facts import Answer, AxisDomain, AxisState, outside
from interop.gate.bundle import sealed
from interop.identity import identify_file
from interop.models import call_by_path
from interop.models.signature import parse_argument
from interop.report.json import to_json
from tests.helpers.commands import here

MODULES = '''
import contextlib
import torch
from torch import nn
import torch.nn.functional as F


class Windows(nn.Module):
    """No shift if the map is not larger than a window, as Swin has it."""
    def __init__(self):
        super().__init__()
        self.patch, self.mix = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 2, 1)
    def forward(self, x):
        x = self.patch(x)
        shift = 0 if min(x.shape[-2:]) <= 4 else 2
        return self.out(self.mix(torch.roll(x, (-shift, -shift), (2, 3)) if shift else x).relu())


class Classes(Windows):
    """The same, with an answer a picture."""
    def forward(self, x):
        return super().forward(x).mean((2, 3))


class Odd(nn.Module):
    """Pools otherwise where the half map is odd."""
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 2, 1)
    def forward(self, x):
        x = self.conv(x).relu()
        pooled = F.avg_pool2d(x, 2, ceil_mode=True)
        if x.shape[-1] % 2 == 1 or x.shape[-2] % 2 == 1:
            pooled = F.adaptive_avg_pool2d(x, 1) * 1.5
        return self.out(x + pooled.mean((2, 3), keepdim=True))


class Decoder(nn.Module):
    """Pads what an odd size leaves short."""
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.up, self.out = nn.ConvTranspose2d(8, 8, 2, 2), nn.Conv2d(16, 2, 1)
    def forward(self, x):
        a = self.one(x).relu()
        b = self.up(self.two(a).relu())
        if b.shape[2] != a.shape[2] or b.shape[3] != a.shape[3]:
            b = b[:, :, : a.shape[2], : a.shape[3]] * 1.1
        return self.out(torch.cat([a, b], 1))


class Lengths(nn.Module):
    """Answers otherwise to two texts of one length."""
    def __init__(self):
        super().__init__()
        self.embed, self.out = nn.Embedding(50, 8), nn.Linear(8, 3)
    def forward(self, one, two):
        a, b = self.embed(one), self.embed(two)
        return self.out((a * b).mean(1) if a.shape[1] == b.shape[1] else a.mean(1) - b.mean(1))


class Plain(nn.Module):
    """Any size."""
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 3)
    def forward(self, x):
        return self.out(self.conv(x).relu().mean((2, 3)))


class Traced(nn.Module):
    """Not for torch.export; a trace bakes the branch in."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
    def forward(self, x):
        y = self.conv(x).relu()
        if torch.compiler.is_exporting():
            raise RuntimeError("not in a program")
        return y * 2 if x.shape[2] > 40 else y


class Keyed(nn.Module):
    """Decides by the text of a size, of which no trace keeps a note."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
    def forward(self, x):
        return self.conv(x) * {"40": 3.0, "50": 5.0}.get(str(x.shape[2]), 1.0)


class Caught(nn.Module):
    """Goes on where torch refuses; torch's older exporter crashes on it."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
    def forward(self, x):
        y = self.conv(x)
        try:
            y = y.view(y.shape[0], 8, x.shape[2] // 6, 6, -1).flip(3).reshape(y.shape)
        except RuntimeError:
            pass
        return y


class Quiet(nn.Module):
    """Not for torch.export, and the same at every size."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
    def forward(self, x):
        if torch.compiler.is_exporting():
            raise RuntimeError("not in a program")
        return self.conv(x).relu()


class Suppresses(nn.Module):
    """The same, without a word of it."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
    def forward(self, x):
        if torch.compiler.is_exporting():
            raise RuntimeError("not in a program")
        y = self.conv(x)
        with contextlib.suppress(RuntimeError):
            y = y.view(y.shape[0], 8, -1, 16, x.shape[3]).flip(3).reshape(y.shape)
        return y


class Tries(nn.Module):
    """Not for torch.export; goes another way where a size does not divide."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
    def forward(self, x):
        if torch.compiler.is_exporting():
            raise RuntimeError("not in a program")
        y = self.conv(x)
        try:
            return y.view(y.shape[0], 8, -1, 16, x.shape[3]).flip(3).reshape(y.shape)
        except RuntimeError:
            return y


class Listed(nn.Module):
    """Takes a list of maps, one for each head."""
    def __init__(self):
        super().__init__()
        self.heads = nn.ModuleList(nn.Conv2d(8, 4, 1) for _ in range(2))
    def forward(self, maps):
        return [head(x) for head, x in zip(self.heads, maps)]


class Spare(nn.Module):
    """Has a part that only training runs; small, or large."""
    wide = 1
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 32, 3, padding=1), nn.Linear(32, 8)
        self.spare = nn.Linear(1, self.wide)
    def forward(self, x):
        return self.out(self.conv(x).relu().mean((2, 3)))


class Large(Spare):
    wide = 200
'''
PICTURE = "x=float32(batch,3,height:32,width:32)"


def drawn(folder: Path, name: str):
    """A class of MODULES, which are written to folder/nets.py, with its weights in net.pth."""
    (folder / "nets.py").write_text(MODULES)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = call_by_path(f"{folder}/nets.py:{name}").eval()
    torch.save(module.state_dict(), folder / "net.pth")
    return module


def made(folder: Path, name: str, *specs: str):
    """Exports a class of MODULES to folder/out."""
    module = drawn(folder, name)
    identity = identify_file(folder / "net.pth", content_hash=True, whole=True)
    factory = f"{folder}/nets.py:{name}"
    return module, export(
        identity, folder / "out", ExportOptions(factory=factory, inputs=specs, force=True)
    )


@pytest.fixture
def anew(tmp_path: Path):
    """The same to tmp_path/out, for tests that change how an export goes."""
    return partial(made, tmp_path)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory):
    """The same, each made once."""
    done = {}

    def make(*given: str):
        if given not in done:
            folder = tmp_path_factory.mktemp("sizes")
            done[given] = folder, made(folder, *given)[1]
        return done[given]

    return make


@pytest.fixture
def exported(tmp_path: Path, once):
    """A class of MODULES, exported, with a copy of its bundle in tmp_path/out."""

    def make(name: str, *specs: str):
        folder, report = once(name, *specs)
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        if (folder / "out").exists():
            shutil.copytree(folder / "out", tmp_path / "out")
        return drawn(tmp_path, name), report

    return make


def axes(report) -> dict[str, AxisDomain]:
    return {axis.name: axis for axis in report.details.domain if axis.name}


def wrong_claims(module, folder: Path, feeds) -> list[tuple[int, ...]]:
    """The shapes that the bundle's domain lets in and at which it is not its module."""
    domain = [
        AxisDomain.from_json(d) for d in json.loads((folder / "interop.json").read_text())["domain"]
    ]
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    names = [i.name for i in session.get_inputs()]
    wrong = []
    for feed in feeds:
        if outside(domain, {n: t.shape for n, t in zip(names, feed, strict=True)}):
            continue
        with torch.no_grad():
            wanted = module(*feed).numpy()
        try:
            (got,) = session.run(None, {n: t.numpy() for n, t in zip(names, feed, strict=True)})
            same = got.shape == wanted.shape and np.abs(got - wanted).max() < 1e-4
        except Exception:
            same = False
        if not same:
            wrong.append(tuple(feed[0].shape))
    return wrong


def pictures():
    sides = (1, 2, 3, 4, 5, 8, 12, 16, 19, 20, 21, 24, 30, 31, 32, 33, 34, 35, 36, 48, 50, 64, 65)
    g = torch.Generator().manual_seed(1)
    for h, w in itertools.product(sides, sides):
        yield (torch.randn(1 + (h + w) % 3, 3, h, w, generator=g),)


def takes(module, feeds):
    """The feeds that the module itself takes."""
    for feed in feeds:
        try:
            with torch.no_grad():
                module(*feed)
        except RuntimeError:
            continue
        yield feed


@pytest.mark.parametrize(
    ("name", "height"),
    [
        ("Windows", {"state": AxisState.RESTRICTED, "min": 20}),
        ("Odd", {"state": AxisState.RESTRICTED, "multiple_of": 4}),
        ("Decoder", {"state": AxisState.RESTRICTED, "multiple_of": 2}),
        ("Plain", {"state": AxisState.OPEN}),
    ],
)
def test_a_graph_is_its_module_at_every_size_that_it_leaves_open(exported, tmp_path, name, height):
    module, report = exported(name, PICTURE)
    assert report.outcome is Answer.YES, report.summary
    found = axes(report)
    for key, value in height.items():
        assert getattr(found["height"], key) == getattr(found["width"], key) == value
    assert wrong_claims(module, tmp_path / "out", takes(module, pictures())) == []
    if name != "Plain":  # it says something: elsewhere the graph really is another model
        (tmp_path / "out" / "interop.json").write_text(json.dumps({"domain": []}))
        assert wrong_claims(module, tmp_path / "out", takes(module, pictures()))


def test_two_lengths_that_must_not_be_equal(exported, tmp_path):
    specs = "one=int64<50(batch,first:9)", "two=int64<50(batch,second:7)"
    module, report = exported("Lengths", *specs)
    assert report.outcome is Answer.YES
    assert "not equal to" in " ".join(a.words() for a in axes(report).values())
    g = torch.Generator().manual_seed(1)
    feeds = [
        tuple(torch.randint(0, 50, (2, n), generator=g) for n in pair)
        for pair in itertools.product(range(2, 14), repeat=2)
        if pair[0] == pair[1] or 1 in pair
    ]
    assert wrong_claims(module, tmp_path / "out", feeds) == []


def test_the_domain_stands_in_the_graph_the_receipt_the_card_and_the_report(exported, tmp_path):
    _, report = exported("Windows", PICTURE)
    out = tmp_path / "out"
    stated = json.loads((out / "interop.json").read_text())["domain"]
    assert stated == to_json(report.details.domain)
    session = onnxruntime.InferenceSession(out / "model.onnx")
    inside = json.loads(session.get_modelmeta().custom_metadata_map["domain"])
    assert inside == [{k: v for k, v in d.items() if k != "why"} for d in stated]
    card = (out / "README.md").read_text()
    assert "`height` (axis 2): restricted: 20 or more" in card


def test_the_report_of_the_python_function_has_the_findings_that_the_command_prints(exported):
    _, report = exported("Windows", PICTURE)
    assert {f.rule for f in report.findings} == {"axis-restricted"}
    _, report = exported("Spare", PICTURE)
    assert {f.rule for f in report.findings} == {"weights-unused"}


def test_every_axis_is_named_on_stdout_and_an_asked_one_is_warned_about(exported, tmp_path):
    exported("Windows", PICTURE)
    done = here(*["export", str(tmp_path / "net.pth"), "--model", f"{tmp_path}/nets.py:Windows",
         "--input", PICTURE, "-o", str(tmp_path / "again")],
    )  # fmt: skip
    assert done.returncode == 0
    assert "height, width  restricted: 20 or more" in done.stdout
    assert "batch" in done.stdout and "x axis 1" in done.stdout
    assert "warn   axis-restricted" in done.stdout
    plain = here(*["export", str(tmp_path / "net.pth"), "--model", f"{tmp_path}/nets.py:Windows",
         "--input", "x=float32(batch,3,32,32)", "-o", str(tmp_path / "fixed")],
    )  # fmt: skip
    assert plain.returncode == 0 and "axis-restricted" not in plain.stdout


@pytest.mark.parametrize("dynamo", [True, False])
def test_a_size_that_is_read_as_text_leaves_gaps(anew, monkeypatch, dynamo):
    monkeypatch.setattr(
        works.routes, "ROUTES", [r for r in works.routes.ROUTES if r.dynamo == dynamo]
    )
    _, report = anew("Keyed", PICTURE)
    assert report.outcome is Answer.YES, report.summary
    height = axes(report)["height"]
    assert height.state is not AxisState.OPEN
    # Nothing tells of 40 and 50: what lies between tried sizes is not called proved.
    assert height.gaps or (height.min == height.max)
    assert report.summary.endswith("5 of 5 proofs hold, at the sizes that were tried")
    assert any("nets.py:" in note for note in report.details.notes)


def test_an_older_trace_that_decided_nothing_is_open(exported):
    """Neither interop's own code nor a library's counts as a person's that catches errors."""
    _, report = exported("Quiet", PICTURE)
    assert report.details.route.startswith("torchscript")
    assert {a.state for a in axes(report).values()} == {AxisState.OPEN}


@pytest.mark.parametrize("name", ["Tries", "Suppresses"])
def test_a_module_that_catches_errors_is_not_called_open(exported, name):
    _, report = exported(name, PICTURE)
    assert report.outcome is Answer.YES, report.summary
    assert report.details.route.startswith("torchscript")
    assert all(a.state is not AxisState.OPEN for a in axes(report).values())


def test_an_error_that_the_module_catches_ends_no_process(exported):
    _, report = exported("Caught", PICTURE)
    assert report.outcome is Answer.NO
    assert "catches an error of torch's own" in report.proofs[-1].what


def test_a_graph_of_fixed_shapes_names_its_axes_and_says_why(anew, monkeypatch):
    monkeypatch.setattr(works.routes, "ROUTES", [r for r in works.routes.ROUTES if not r.open])
    _, report = anew("Plain", PICTURE)
    assert report.outcome is Answer.YES
    found = axes(report)
    assert {n: a.state for n, a in found.items()} == {
        "batch": AxisState.FIXED, "height": AxisState.FIXED, "width": AxisState.FIXED,
    }  # fmt: skip
    assert "--input" not in found["height"].why and "route" in found["height"].why


def test_a_trace_without_guards_claims_the_span_of_what_was_tried(exported, tmp_path):
    module, report = exported("Traced", PICTURE)
    assert report.outcome is Answer.YES, report.summary
    assert report.details.route.startswith("torchscript")
    height = axes(report)["height"]
    assert height.state is not AxisState.OPEN and (height.max or 99) <= 40
    assert wrong_claims(module, tmp_path / "out", pictures()) == []


def test_a_trace_that_goes_on_and_on_is_made_with_fixed_sides(anew, monkeypatch):
    from interop.models import infer_signature

    asked = parse_argument(PICTURE)
    monkeypatch.setattr(works, "GUARDS", 1)
    monkeypatch.setattr(
        works, "signature", lambda _, module, *__: infer_signature._stated([asked], module)
    )
    _, report = anew("Odd")
    assert report.outcome is Answer.YES
    height = axes(report)["height"]
    assert height.state is AxisState.FIXED and "conditions on its sizes" in height.why
    assert report.details.inputs[0].shape == ("batch", 3, 32, 32)
    assert any("--input 'x=float32(batch,3,height:32,width:32)' opens" in n
               for n in report.details.notes)  # fmt: skip


def test_verify_tries_the_stated_sizes_again(exported, tmp_path):
    exported("Windows", PICTURE)
    arguments = ["verify", str(tmp_path / "out"), "--format", "json"]
    good = here(*[*arguments, "--model", f"{tmp_path}/nets.py:Windows"])
    assert good.returncode == 0, good.stderr
    facts = next(p for p in json.loads(good.stdout)["proofs"] if p["name"] == "parity")["facts"]
    assert {t["sizes"]["height"] for t in facts["trials"]} >= {20, 32, 65}
    changed = MODULES.replace("<= 4 else 2", "<= 6 else 2")  # the code has moved on since
    (tmp_path / "later.py").write_text(changed)
    bad = here(*[*arguments, "--model", f"{tmp_path}/later.py:Windows"])
    assert bad.returncode == 1


def test_a_receipt_without_a_domain_is_verified_as_before_and_that_is_said(exported, tmp_path):
    exported("Plain", PICTURE)
    path = tmp_path / "out" / "interop.json"
    receipt = json.loads(path.read_text())
    del receipt["domain"]
    path.write_text(json.dumps(receipt))
    done = here(*["verify", str(tmp_path / "out"), "--model", f"{tmp_path}/nets.py:Plain"])
    assert done.returncode == 0, done.stderr
    assert "states no domain" in done.stdout


def test_bench_refuses_inputs_outside_of_the_domain(exported, tmp_path):
    exported("Classes", PICTURE)
    rng = np.random.default_rng(0)
    for side in (16, 24):
        x = rng.standard_normal((6, 3, side, side), dtype=np.float32)
        np.savez(tmp_path / f"{side}.npz", input=x, labels=rng.integers(0, 2, 6))
    how = json.dumps({"resize": [32, 32], "mean": [0, 0, 0], "std": [1, 1, 1]})
    arguments = ["bench", tmp_path / "out", "--model", f"{tmp_path}/nets.py:Classes", "--batch",
                 "none", "--task", "image-classification", "--labels", "a,b",
                 "--preprocess", how]  # fmt: skip
    done = here(*arguments, "--data", tmp_path / "16.npz")
    assert done.returncode == 2, done.stderr
    assert "height is 16; the graph was proved for 20 or more" in done.stdout + done.stderr
    assert "[axis-restricted]" in done.stdout + done.stderr
    assert here(*arguments, "--data", tmp_path / "24.npz").returncode in (
        0,
        3,
    )  # 3: a noisy machine
    native = here(*arguments, "--data", tmp_path / "16.npz", "--runtime", "pytorch")
    assert native.returncode in (0, 3), native.stderr


def test_bench_says_which_sizes_are_assumed(exported, tmp_path):
    exported("Keyed", "x=float32(batch,3,height:32,32)")
    domain = runners._domain(tmp_path / "out")
    (note,) = runners._gaps(domain)
    assert "height" in note and "assumed" in note
    assert runners._gaps(tuple(d for d in domain if not d.gaps)) == ()


# ---------------------------------------------------------------- weights that reach no output


def test_a_list_given_as_one_tensor_is_refused(exported):
    with pytest.raises(ModelError, match=r"2 at batch 2.*'maps\[0\]=…'"):
        exported("Listed", "maps=float32(batch,8,16,16)")


def test_a_small_unused_weight_is_named_and_a_large_one_is_a_fault(exported):
    _, small = exported("Spare", PICTURE)
    assert small.outcome is Answer.YES
    facts = next(p for p in small.proofs if p.name == "same weights").facts
    assert set(facts["unused"]) == {"spare.weight", "spare.bias"}
    _, large = exported("Large", PICTURE)
    assert large.outcome is Answer.NO


def test_auxiliary_heads_that_the_library_does_not_run_are_no_fault(tmp_path):
    import torchvision

    torch.manual_seed(0)
    net = torchvision.models.googlenet(num_classes=4, init_weights=False, aux_logits=True)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    done = here(*["export", str(tmp_path / "net.pth"), "-o", str(tmp_path / "out"),
         "--input", "input=float32(batch,3,64,64)"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "no output depends on aux1" in " ".join(done.stdout.split())


def test_the_gate_states_the_sizes_of_a_bundle(exported, tmp_path):
    exported("Windows", PICTURE)
    done = here("gate", tmp_path / "out", "--baseline", tmp_path / "out")
    assert "warn   axis-restricted" in done.stdout and "20 or more" in done.stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d[2].update(state="open", min=1, max=None), "other sizes than model.onnx"),
        (lambda d: d[2].update(min=1), "other sizes than model.onnx"),
        (lambda d: d.clear(), "other sizes than model.onnx"),
        (lambda d: d[2].update(min=-5), "sizes that cannot be"),
        (lambda d: d[2].update(multiple_of=0), "sizes that cannot be"),
        (lambda d: d[2].update(max=1), "sizes that cannot be"),
        (lambda d: d[2].update(state="wide"), "sizes that cannot be"),
        (lambda d: d.append(None), "sizes that cannot be"),
        (None, "sizes that cannot be"),
    ],
)
def test_a_receipt_with_other_sizes_than_its_graph_is_noticed(exported, tmp_path, change, said):
    exported("Windows", PICTURE)
    path = tmp_path / "out" / "interop.json"
    receipt = json.loads(path.read_text())
    if change is None:
        receipt["domain"] = None
    else:
        change(receipt["domain"])
    path.write_text(json.dumps(receipt))
    proof = sealed(str(tmp_path / "out"))
    assert not proof.holds and said in proof.what
    with pytest.raises(ReadError, match=said):
        runners._domain(tmp_path / "out")
    done = here("verify", tmp_path / "out", "--model", f"{tmp_path}/nets.py:Windows")
    assert done.returncode == 1 and said in " ".join((done.stdout + done.stderr).split())
    assert "files does not hold" in done.stdout + done.stderr
