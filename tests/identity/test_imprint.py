"""What the weights remember of their inputs: every statement right, silence if it cannot be known.

The statistics are those of smooth random pictures behind random filters (tests/helpers/stems.py).
"""

from __future__ import annotations

import json
import math
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from interop import api
from interop.check import CheckOptions, check_identities
from interop.errors import ReadError
from interop.facts import Answer, Identity, Imprint, Intent, Level, TextPreprocessing
from interop.gate.candidate import ModelPath, judge
from interop.identity import identify_file
from interop.identity import imprint as imprints
from interop.identity.imprint import STANDARD, remembered, with_imprint
from interop.policy.policy import Policy
from interop.reading.values import plain
from tests.conftest import Run
from tests.helpers.stems import MEAN, PREPARATIONS, STD, Tensors, numbered, packed, stem, write

RULE = "preprocessing-contradicts-statistics"
WIDE = ("0 to 255", "0 to 255 less a mean")


def of(path: Path, tensors: Tensors, dtype: str = "F32", **more: str) -> Imprint:
    seen = remembered(identify_file(write(path / "model.safetensors", tensors, dtype, more)))
    assert seen is not None
    return seen


def imagenet(**changes: object) -> Tensors:
    return numbered(stem(PREPARATIONS[STANDARD], **changes))  # type: ignore[arg-type]


# ---------------------------------------------------------------- statements


@pytest.mark.parametrize("family", PREPARATIONS)
@pytest.mark.parametrize(
    ("side", "filters", "bias"), [(3, 16, False), (1, 24, True), (5, 12, True)]
)
def test_the_preparation_is_read_from_the_first_layer(
    tmp_path: Path, family: str, side: int, filters: int, bias: bool
) -> None:
    made = stem(PREPARATIONS[family], side=side, filters=filters, bias=bias)
    seen = of(tmp_path, numbered(made))
    assert seen.why == "" and seen.wide is (family in WIDE)
    assert seen.family == family and family not in seen.excluded
    assert (seen.layer, seen.norm, seen.batches) == ("features.0", "features.1", 5000)
    unit = {"0 to 1": 0.25, "-1 to 1": 0.5}.get(family, 64.0 if family in WIDE else 1.1)
    assert seen.scale == pytest.approx(unit, rel=0.35)
    for c, mean in enumerate(seen.mean):
        assert mean == pytest.approx(PREPARATIONS[family](MEAN[c], c), abs=0.15 * unit)


def test_a_grey_stem_has_one_mean(tmp_path: Path) -> None:
    grey = stem(lambda x, _: 255 * x, colours=1)
    seen = of(tmp_path, numbered(grey))
    assert (seen.wide, seen.family, len(seen.mean)) == (True, "0 to 255", 1)
    seen = of(tmp_path, numbered(stem(lambda x, _: (x - 0.449) / 0.226, colours=1)))
    assert (seen.wide, seen.family) == (False, STANDARD)


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_of_every_type_of_number_it_is_the_same(tmp_path: Path, dtype: str) -> None:
    seen, exact = of(tmp_path, imagenet(), dtype), of(tmp_path, imagenet(), "F64")
    assert seen.family == exact.family == STANDARD
    assert seen.scale == pytest.approx(exact.scale, rel=0.02)
    assert seen.mean == pytest.approx(exact.mean, abs=0.02)


def test_without_a_counter_and_without_an_affine_part(tmp_path: Path) -> None:
    bare = imagenet(batches=None)
    del bare["features.1.weight"], bare["features.1.bias"]
    seen = of(tmp_path, bare)
    assert seen.batches is None and seen.wide is False
    assert "batches" not in seen.sentences[0]


def test_in_shards(tmp_path: Path) -> None:
    made = imagenet()
    first = {n: t for n, t in made.items() if n.startswith("features.0")}
    write(tmp_path / "1.safetensors", first)
    write(tmp_path / "2.safetensors", {n: t for n, t in made.items() if n not in first})
    shards = {n: "1.safetensors" if n in first else "2.safetensors" for n in made}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}), "utf-8")
    seen = remembered(identify_file(index))
    assert seen is not None and seen.wide is False and seen.why == ""


@pytest.mark.parametrize("name", ["plain", "legacy", "half", "training", "model"])
def test_every_form_of_a_trained_checkpoint_remembers_the_same(derived: Path, name: str) -> None:
    (path,) = derived.glob(f"{name}.*")
    seen = remembered(identify_file(path))
    assert seen is not None and (seen.layer, seen.norm) == ("conv1.0", "conv1.1")
    assert seen.wide is False and seen.scale == pytest.approx(0.84, abs=0.02)


@pytest.mark.needs_torch
def test_weights_with_strides_and_in_an_archive_that_is_compressed(tmp_path: Path) -> None:
    import zipfile

    import torch

    state = {n: torch.tensor(v).reshape(s) for n, (s, v) in imagenet().items()}
    weight = state["features.0.weight"]
    state["features.0.weight"] = weight.contiguous(memory_format=torch.channels_last)
    torch.save(state, tmp_path / "a.pth")
    with (
        zipfile.ZipFile(tmp_path / "a.pth") as old,
        zipfile.ZipFile(tmp_path / "b.pth", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    exact = of(tmp_path, imagenet())
    for name in ("a.pth", "b.pth"):
        seen = remembered(identify_file(tmp_path / name))
        assert seen is not None and seen.why == ""
        assert seen.mean == pytest.approx(exact.mean, abs=1e-4)
        assert seen.scale == pytest.approx(exact.scale, rel=1e-4)


def test_at_an_address_only_parts_are_fetched(tmp_path: Path) -> None:
    for package in ("fsspec", "aiohttp"):
        pytest.importorskip(package)
    from tests.helpers.server import Server

    made = imagenet()
    made["features.9.weight"] = ((1024, 1024), [0.0] * (1 << 20))
    write(tmp_path / "model.safetensors", made)
    server = Server(tmp_path)
    try:
        seen = remembered(identify_file(f"{server.address}/model.safetensors"))
        assert seen is not None and seen.wide is False and seen.why == ""
        assert server.of("model.safetensors")[1] < (tmp_path / "model.safetensors").stat().st_size
    finally:
        server.close()


def test_a_large_stem_is_sampled_and_not_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    planes = [[1.0] * 49] * 3
    filters = [imprints._Filter(planes, 0.0, float(k)) for k in range(1000)]
    some = imprints._sampled(filters, (1000, 3, 7, 7))
    assert 16 <= len(some) < 64 and len({f.variance for f in some}) == len(some)
    assert max(f.variance for f in some) > 950
    assert len(imprints._sampled(filters, (1000, 3, 18, 18))) == 16
    assert len(imprints._sampled(filters[:40], (40, 3, 3, 3))) == 40


# ---------------------------------------------------------------- silence


def changed(tensors: Tensors, name: str, change: Callable[[list[float]], list[float]]) -> Tensors:
    shape, values = tensors[name]
    return tensors | {name: (shape, change(values))}


def shuffled(values: list[float]) -> list[float]:
    return random.Random(3).sample(values, len(values))


def never_trained(tensors: Tensors) -> Tensors:
    made = changed(tensors, "features.1.running_mean", lambda v: [0.0] * len(v))
    return changed(made, "features.1.running_var", lambda v: [1.0] * len(v))


def before(tensors: Tensors, name: str, shape: tuple[int, ...]) -> Tensors:
    return {name: (shape, [0.5] * math.prod(shape))} | tensors


def without(tensors: Tensors, prefix: str) -> Tensors:
    return {n: t for n, t in tensors.items() if not n.startswith(prefix)}


def later(tensors: Tensors) -> Tensors:
    """The same a place further on."""
    return {n.replace(".1.", ".2.").replace(".0.", ".1."): t for n, t in tensors.items()}


MEANS, VARIANCES = "features.1.running_mean", "features.1.running_var"
SILENT: dict[str, tuple[Callable[[], Tensors], str]] = {
    "never trained": (lambda: never_trained(imagenet()), "they were never trained"),
    "few batches": (lambda: imagenet(batches=46), "only 46 batches were tracked"),
    "one batch": (lambda: imagenet(batches=1), "only 1 batch were"),
    "negative count": (lambda: imagenet(batches=-3), "not a count"),
    "shuffled variances": (
        lambda: changed(imagenet(), VARIANCES, shuffled), "variances do not fit"),
    "shuffled filters": (
        lambda: changed(imagenet(), "features.0.weight", shuffled), "variances do not fit"),
    "shuffled means": (
        lambda: changed(numbered(stem(PREPARATIONS["0 to 255"])), MEANS, shuffled),
        "means do not fit"),
    "equal variances": (
        lambda: changed(imagenet(), VARIANCES, lambda v: [2.0] * len(v)), "variances do not fit"),
    "an activation": (lambda: imagenet(activation=lambda x: max(x, 0.0)), "do not fit"),
    "no variances": (lambda: changed(imagenet(), VARIANCES, lambda v: [0.0] * len(v)), "holds no"),
    "below 0": (lambda: changed(imagenet(), VARIANCES, lambda v: [-1.0, *v[1:]]), "holds no"),
    "not finite": (
        lambda: changed(imagenet(), MEANS, lambda v: [math.nan, *v[1:]]), "not finite"),
    "infinite": (
        lambda: changed(imagenet(), "features.0.weight", lambda v: [math.inf, *v[1:]]),
        "not finite"),
    "no weights": (
        lambda: changed(imagenet(), "features.0.weight", lambda v: [0.0] * len(v)), "in use"),
    "in between": (lambda: numbered(stem(lambda x, _: 40 * x)), "no usual preparation"),
    "divided twice": (lambda: numbered(stem(lambda x, _: x / 255)), "no usual preparation"),
    "of 16 bits": (lambda: numbered(stem(lambda x, _: 65535 * x)), "no usual preparation"),
    "decibels": (lambda: numbered(stem(lambda x, _: 85 * (x - 1))), "no usual preparation"),
    "grey and dim": (
        lambda: numbered(stem(lambda x, _: 85 * x, colours=1)), "no usual preparation"),
    "few filters": (lambda: imagenet(filters=7), "only 7 filters"),
    "no norm": (lambda: without(imagenet(), "features.1."), "the model has no batch"),
    "only variances": (lambda: without(imagenet(), MEANS), "the model has no batch"),
    "later": (
        lambda: before(without(imagenet(), "features.1."), "features.3.running_mean", (16,)),
        "no batch normalisation directly"),
    "another width": (
        lambda: imagenet() | {MEANS: ((8,), [0.0] * 8)}, "no batch normalisation directly"),
    "normalises inside": (lambda: before(imagenet(), "mean", (1, 3, 1, 1)), "normalises its input"),
    "at its end": (
        lambda: before(imagenet(), "zoom.pixel_std", (3,)), "normalises its input itself"),
    "something before": (
        lambda: before(later(imagenet()), "features.0.weight", (3, 3)), "sorts its tensors"),
    "four channels": (
        lambda: before(without(imagenet(), "features.0"), "features.0.weight", (16, 4, 3, 3)),
        "no convolution takes 1 or 3 channels"),
    "too large": (
        lambda: before(without(imagenet(), "features.0"), "features.0.weight", (16, 3, 21, 21)),
        "too large (16x3x21x21)"),
    "no order": (
        lambda: stem(PREPARATIONS["0 to 1"], conv="stem", norm="a_norm"), "sorts its tensors"),
    "two that could be first": (
        lambda: before(imagenet(), "other.weight", (8, 3, 3, 3)), "sorts its tensors"),
}  # fmt: skip


@pytest.mark.parametrize("case", SILENT)
def test_there_is_no_statement(tmp_path: Path, case: str) -> None:
    make, why = SILENT[case]
    seen = of(tmp_path, make())
    assert why in seen.why, seen
    assert (seen.wide, seen.family, seen.excluded) == (None, "", ())
    assert seen.sentences == (f"no statement: {seen.why}",)


def altered(tmp_path: Path, **changes: object) -> Imprint | None:
    identity = identify_file(write(tmp_path / "a.safetensors", imagenet()))
    return remembered(replace(identity, **changes))  # type: ignore[arg-type]


def test_of_other_kinds_of_files_there_is_no_statement(tmp_path: Path) -> None:
    plain_one = identify_file(write(tmp_path / "a.safetensors", imagenet()))
    manifest = plain_one.manifest
    for changes, why in (
        (backwards(plain_one), "the first tensor is not a convolution (features.1.weight)"),
        (backwards(plain_one, channels=4), "takes 4 channels, not 1 or 3"),
        ({"kind": "optimizer state"}, "not a plain model: optimizer state"),
        ({"preprocessing": TextPreprocessing()}, "its inputs are text"),
        ({"manifest": replace(manifest, container="keras")}, "not read from keras files"),
        ({"tensors": quantized(plain_one)}, "cannot be read: 'features.0.weight' is not a plain"),
        ({"tensors": elsewhere(plain_one, tmp_path)}, "the values cannot be read"),
    ):
        seen = altered(tmp_path, **changes)
        assert seen is not None and why in seen.why, seen
    assert altered(tmp_path, tensors=()) is None


def backwards(identity: Identity, channels: int = 0) -> dict[str, object]:
    """A file that keeps the order of its module, which has its first layer last; or that layer
    first, of so many channels."""
    line = identity.tensors[::-1]
    if channels:
        first = next(t for t in line if len(t.shape) == 4)
        line = (replace(first, shape=(16, channels, 3, 3)), *(t for t in line if t is not first))
    state = replace(identity.manifest.state_dicts[0], tensors=line, ordered=True)
    return {"manifest": replace(identity.manifest, state_dicts=(state,)), "tensors": line}


def quantized(identity: Identity) -> object:
    return tuple(replace(t, quantizer="per_tensor_affine scale 0.1 zero point 0")
                 for t in identity.tensors)  # fmt: skip


def elsewhere(identity: Identity, folder: Path) -> object:
    """The same tensors in a file that is gone since it was read."""
    return tuple(replace(t, storage=t.storage and replace(t.storage, file=str(folder / "gone")))
                 for t in identity.tensors)  # fmt: skip


def test_a_graph_and_a_model_without_convolutions(tmp_path: Path) -> None:
    words = {"fc.weight": ((3, 4), [0.0] * 12), "fc.bias": ((3,), [0.0] * 3)}
    assert remembered(identify_file(write(tmp_path / "fc.safetensors", words))) is None
    folded = replace(identify_file(write(tmp_path / "a.safetensors", imagenet())))
    graph = SimpleNamespace()
    seen = remembered(replace(folded, manifest=replace(folded.manifest, graph=graph)))  # type: ignore[arg-type]
    assert seen is not None and "folded" in seen.why


def test_a_finer_family_is_said_only_if_it_is_clear(tmp_path: Path) -> None:
    # Between two families; far from any photo; behind an activation that is nearly straight.
    seen = of(tmp_path, numbered(stem(lambda x, c: (x - MEAN[c]) / 0.37)))
    assert seen.wide is False and seen.family == ""
    assert "undecided between 0 to 1" in seen.sentences[1]
    seen = of(tmp_path, numbered(stem(lambda x, c: 4 * (x + 0.7))))
    assert seen.wide is False and seen.family == "" and min(seen.scores.values()) > 12
    seen = of(tmp_path, imagenet(activation=lambda x: x * min(max(x / 60 + 0.5, 0), 1)))
    assert seen.family in ("", "-1 to 1") and seen.wide in (False, None)


def test_networks_that_prepare_their_input_themselves_have_no_finer_family(tmp_path: Path) -> None:
    from interop.facts import Architecture

    known = (Architecture("torchvision/googlenet", "tensors"),)
    seen = altered(tmp_path, architectures=known)
    assert seen is not None and (seen.wide, seen.family) == (False, "")


def test_each_gate_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = imagenet()
    for gate, value, why in (
        ("MOST_RMS", 0.0, "variances do not fit"),
        ("LEAST_EXPLAINED", 1.1, "variances do not fit"),
        ("MOST_RESIDUAL", 0.0, "means do not fit"),
        ("FEWEST_BATCHES", 6000, "fewer than 6000"),
    ):
        with monkeypatch.context() as only:
            only.setattr(imprints, gate, value)
            assert why in of(tmp_path, made).why, gate
    for gate, value in (
        ("MOST_SCORE", 0.0), ("LEAST_RATIO", 1e9), ("MOST_FAMILY_RESIDUAL", 0.0),
    ):  # fmt: skip
        with monkeypatch.context() as only:
            only.setattr(imprints, gate, value)
            seen = of(tmp_path, made)
            assert (seen.wide, seen.family, seen.why) == (False, "", ""), gate


def test_a_few_numbers_are_read_without_numpy(tmp_path: Path) -> None:
    values = [0.5, -1.25, 3.0, 100.0]
    made: Tensors = {"a": ((2, 2), values), "b.num_batches_tracked": ((), [7])}
    for dtype in ("F64", "F32", "F16", "BF16"):
        tensors = identify_file(write(tmp_path / "n.safetensors", made, dtype)).tensors
        assert plain.numbers(tensors) == [values, [7.0]]
    first = tensors[0]
    turned = replace(first, stride=(1, 2), neg=True)
    assert plain.numbers([turned]) == [[-0.5, -3.0, 1.25, -100.0]]
    assert plain.numbers([replace(first, shape=(0,))]) == [[]]
    for odd in (
        replace(first, dtype="complex64"),
        replace(first, storage=None),
        replace(first, offset=3),
        replace(first, stride=(1 << 40, 1)),
    ):
        with pytest.raises(ReadError):
            plain.numbers([odd])
    (tmp_path / "n.safetensors").write_bytes(packed(values, "BF16"))
    with pytest.raises(ReadError, match="shorter than when it was read"):
        plain.numbers([first])


def test_neither_numpy_nor_torch_is_loaded(tmp_path: Path) -> None:
    path = write(tmp_path / "model.safetensors", imagenet())
    code = (
        "import sys; from interop import api; api.inspect(sys.argv[1]);"
        "assert not {'numpy', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- where it is shown


def test_inspect_shows_it(tmp_path: Path, interop: Run) -> None:
    path = write(tmp_path / "model.safetensors", imagenet())
    done = interop("inspect", path)
    rows = done.stdout[done.stdout.index("remembered") :]
    assert "the first layer received mean 0.01 0.00 0.03, scale 1.1" in rows
    assert "not 0 to 255" in rows
    assert "if the data look like ordinary photos: less a mean and over a std" in rows
    assert max(map(len, done.stdout.splitlines())) <= 80
    said = json.loads(interop("inspect", path, "--format", "json").stdout)
    facts = said["inputs"][0]["facts"]["imprint"]
    assert (facts["wide"], facts["why"], facts["batches"]) == (False, "", 5000)
    assert said["details"]["notes"] == facts["says"]
    write(path, imagenet(batches=3))
    silent = interop("inspect", path)
    assert "no statement: only 3 batches were tracked" in " ".join(silent.stdout.split())
    write(path, {"fc.weight": ((3, 4), [0.0] * 12)})
    assert "remembered" not in interop("inspect", path).stdout


def test_of_many_state_dicts_a_few_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_REMEMBERED", 1)
    monkeypatch.setattr(api, "places_of", lambda _: [None, None])
    path = write(tmp_path / "model.safetensors", imagenet())
    with_it = ["imprint" in i.facts for i in api.inspect(path).inputs]
    assert with_it == [True, False]


LABELS = {"labels": json.dumps(["cat", "dog", "eel"])}
IMAGENET = {"preprocess": json.dumps({"resize": [8, 8], "mean": MEAN, "std": STD})}
RAW = {"preprocess": json.dumps(
    {"resize": [8, 8], "mean": [0.0] * 3, "std": [1.0] * 3, "scale": 1.0}
)}  # fmt: skip


def pair(folder: Path, a: str, b: str, *stated: dict[str, str]) -> tuple[Path, Path]:
    """Two files of one model, trained on inputs that were prepared so, and what each states."""
    if len(stated) < 2:
        stated = (*stated, *stated) or ({}, {})
    paths = []
    for n, family in enumerate((a, b)):
        made = numbered(stem(PREPARATIONS[family], seed=n + 1))
        paths.append(write(folder / f"{'ab'[n]}.safetensors", made, metadata=LABELS | stated[n]))
    return paths[0], paths[1]


def findings(a: Path, b: Path) -> list[tuple[str, Answer]]:
    """What the rule says of a pair, and the answer to whether B can replace A."""
    options = CheckOptions(intent=Intent.REPLACE)
    one, two = (with_imprint(identify_file(p)) for p in (a, b))
    report = check_identities(one, two, options)
    return [(f.what, report.outcome) for f in report.findings if f.rule == RULE]


UNIT, WIDER, NORMAL = "0 to 1", "0 to 255", STANDARD


def test_one_of_two_files_was_fed_0_to_255(tmp_path: Path) -> None:
    ((what, answer),) = findings(*pair(tmp_path, NORMAL, WIDER))
    assert answer is Answer.UNKNOWN
    assert re.fullmatch(r"a.safetensors remembers inputs of scale 1.\d \(not 0 to 255\), "
                        r"b.safetensors of \d\d \(0 to 255\)", what)  # fmt: skip
    assert findings(*pair(tmp_path, NORMAL, NORMAL, IMAGENET)) == []
    assert findings(*pair(tmp_path, UNIT, NORMAL)) == []
    assert findings(*pair(tmp_path, WIDER, "0 to 255 less a mean", RAW)) == []


def test_one_finding_for_a_pair_that_also_contradicts_what_it_states(tmp_path: Path) -> None:
    ((what, _),) = findings(*pair(tmp_path, NORMAL, WIDER, IMAGENET))
    assert "b.safetensors of" in what
    # Each states what it remembers: that they differ is another rule's, and an error.
    assert findings(*pair(tmp_path, NORMAL, WIDER, IMAGENET, RAW)) == []


def test_what_is_stated_is_of_another_range(tmp_path: Path) -> None:
    ((what, answer),) = findings(*pair(tmp_path, WIDER, WIDER, IMAGENET))
    assert answer is Answer.UNKNOWN
    assert "its stated preprocessing gives photos a scale of 1.2 (not 0 to 255)" in what
    a, b = pair(tmp_path, NORMAL, NORMAL, RAW)
    ((what, _),) = findings(a, b)
    assert "its stated preprocessing gives photos a scale of 66 (0 to 255)" in what
    report = api.inspect(b)
    assert [(f.level, f.place) for f in report.findings if f.rule == RULE] == [
        (Level.WARN, str(b))
    ]  # fmt: skip
    # A stated std that is a data set's own, of little contrast, says nothing of the range.
    low = {"preprocess": json.dumps({"resize": [8, 8], "mean": MEAN, "std": [0.01] * 3})}
    assert findings(*pair(tmp_path, NORMAL, NORMAL, low)) == []
    none = {"preprocess": json.dumps({"resize": [8, 8], "mean": MEAN, "std": [0.0] * 3})}
    assert findings(*pair(tmp_path, NORMAL, NORMAL, none)) == []


def test_plain_check_reads_no_statistics(tmp_path: Path) -> None:
    a, b = pair(tmp_path, NORMAL, WIDER, IMAGENET)
    report = api.check(a, b, CheckOptions(intent=Intent.REPLACE))
    assert RULE not in [f.rule for f in report.findings]
    assert not any("imprint" in i.facts for i in report.inputs) and not report.notes


@pytest.mark.needs_torch
def test_check_of_values_counts_it(tmp_path: Path, interop: Run) -> None:
    a, b = pair(tmp_path, NORMAL, WIDER, IMAGENET)
    done = interop("check", a, b, "--values", "--for", "replace")
    assert done.returncode == 3 and RULE in done.stdout
    assert "A remembers its inputs: the first layer received mean" in done.stdout
    a, b = pair(tmp_path, NORMAL, NORMAL, IMAGENET)
    done = interop("check", a, b, "--values", "--for", "replace")
    assert done.returncode == 0, done.stdout
    assert "not 0 to 255, as its preprocessing has it" in " ".join(done.stdout.split())


def test_the_gate_counts_it_and_a_policy_may_raise_its_level(tmp_path: Path) -> None:
    a, b = pair(tmp_path, NORMAL, WIDER, IMAGENET)
    for levels, answer in (({}, Answer.UNKNOWN), ({RULE: Level.ERROR}, Answer.NO)):
        policy = Policy(values=False, levels=levels)
        report = judge(ModelPath(str(b)), ModelPath(str(a)), policy)
        assert report.outcome is answer
        assert RULE in [f.rule for f in report.findings]


@pytest.mark.needs_torch
def test_a_bare_copy_that_was_trained_on_0_to_255_is_told_apart(
    derived: Path, tmp_path: Path, interop: Run
) -> None:
    import torch

    state = torch.load(derived / "plain.pth", weights_only=True)
    paths = {}
    for name, scale in (("alike", 1.0), ("wide", 1 / 97)):
        # The same statistics behind smaller weights are those of larger inputs.
        first = state["conv1.0.weight"] * scale
        torch.save({**state, "conv1.0.weight": first, "fc.bias": state["fc.bias"] + 0.01},
                   tmp_path / f"{name}.pth")  # fmt: skip
        paths[name] = tmp_path / f"{name}.pth"
    labels = ",".join(map(str, range(10)))
    how = json.dumps({"resize": [64, 64], "mean": [0.31] * 3, "std": [0.38] * 3})
    for name, code in (("alike", 0), ("wide", 3)):
        done = interop(
            "check", derived / "plain.pth", paths[name], "--values", "--for", "replace",
            "--labels", labels, "--preprocess", how,
        )  # fmt: skip
        assert done.returncode == code, done.stdout
        assert (RULE in done.stdout) is (code == 3)
    assert "plain.pth remembers inputs of scale 0.84 (not 0 to 255)" in done.stdout
