"""The index is built from the libraries, stored whole, and what is stored is what they hold."""

import gzip
import json

import pytest

from interop.errors import ModelError
from interop.identity.index import lookup
from interop.models import catalog
from interop.models.index.build import build_index, select, state_dict_shapes, write

# Over the three libraries: twins, other names on disk, side branches, free and fixed sizes.
SAMPLE = (
    "torchvision/resnet18", "torchvision/quantized_resnet18", "torchvision/googlenet",
    "torchvision/fcn_resnet50", "timm/resnet18", "timm/resnetblur18", "timm/efficientnet_b0",
    "timm/tf_efficientnet_b0", "timm/vit_tiny_patch16_224", "timm/deit_tiny_patch16_224",
    "timm/vit_small_patch14_dinov2", "transformers/DistilBertForSequenceClassification",
    "transformers/GPT2LMHeadModel", "transformers/T5ForConditionalGeneration",
    "transformers/ViTForImageClassification", "transformers/DetrForObjectDetection",
)  # fmt: skip


def facts(made, name):
    """What an index says of a name, without the numbers by which it is put together."""
    found = set()

    def spelled(ways):
        return frozenset((str(made.specs[spec]), total) for spec, total in ways)

    for number, group in enumerate(made.groups):
        if any(name in same for same in group.names):
            ways = spelled(made.ways.of(number))
            found.add((group.heads, group.takes, ways))
    for number, template in enumerate(made.templates):
        if any(name in same for same in template.group.names):
            ways = spelled(made.family_ways.of(number))
            table = made.tables[template.table]
            found.add((template.group.heads, template.group.takes, ways, template.root, table))
    return found


def together(made, name):
    """The names of the sample that the index has as the same computation as one."""
    return {
        other
        for group in (*made.groups, *(t.group for t in made.templates))
        for same in group.names
        if name in same
        for other in same
        if other in SAMPLE
    }


@pytest.fixture(scope="module")
def rebuilt():
    return lookup.parse(build_index(SAMPLE))


def test_what_is_stored_is_what_the_libraries_hold(rebuilt):
    stored = lookup.load()
    here = catalog.built_from()
    if stored.built_from != here:
        pytest.skip(f"the index is of {dict(stored.built_from)}, here are {here}")
    for name in SAMPLE:
        assert facts(rebuilt, name) and facts(rebuilt, name) == facts(stored, name), name
        assert together(rebuilt, name) == together(stored, name), name
    assert facts(rebuilt, SAMPLE[0]) != facts(stored, "torchvision/resnet34")


def test_twins_are_in_the_index(rebuilt):
    assert together(rebuilt, "torchvision/resnet18") == {
        "torchvision/resnet18", "torchvision/quantized_resnet18", "timm/resnet18",
    }  # fmt: skip
    group = rebuilt.by_name["timm/tf_efficientnet_b0"]
    assert len(group.names) == 2 and group.apart == "padding, epsilon"


def test_an_index_says_what_it_was_built_from():
    lines = []
    made = build_index(["timm/test_resnet"], progress=lines.append)
    assert set(made["built_from"]) == {"torch", "timm"}
    assert lines == ["1/1 timm/test_resnet"]
    with pytest.raises(ModelError, match="has no 'no_such'"):
        build_index(["timm/no_such"])


def test_names_are_chosen_by_pattern():
    assert select(["*/resnet18"]) == ["torchvision/resnet18", "timm/resnet18"]
    assert select(["*/resnet18"], ["timm"]) == ["timm/resnet18"]
    assert len(select(libraries=["torchvision"])) >= 121
    with pytest.raises(ModelError, match="no model's name fits 'resnet18'"):
        select(["resnet18"])


def test_it_is_stored_whole_and_the_same_each_time(tmp_path, monkeypatch):
    path = tmp_path / "index.json.gz"
    assert write({"a": [1, "é"]}, path) == path.stat().st_size
    first = path.read_bytes()
    assert json.loads(gzip.decompress(first)) == {"a": [1, "é"]}
    write({"a": [1, "é"]}, path)
    assert path.read_bytes() == first

    def fail(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="No space"):
        write({"b": 2}, path)
    assert path.read_bytes() == first and list(tmp_path.iterdir()) == [path]


def test_the_command(interop, tmp_path):
    out = tmp_path / "part.json.gz"
    done = interop("index", "build", "--only", "timm/test_resnet", "-o", out)
    assert done.returncode == 0, done.stderr
    assert f"{out}: 1 names" in " ".join(done.stdout.split())
    assert "timm/test_resnet" in lookup.load(out).by_name


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--only", "timm/*"], "a part of the index would replace the whole; say where"),
        (["--only", "timm/no-such", "-o", "a.json"], "no model's name fits 'timm/no-such'"),
        (["-o", "no/such/folder/a.json"], "no such folder"),
        (["--library", "keras"], "'keras' is not one of"),
    ],
)
def test_a_command_that_cannot_be_done(interop, tmp_path, arguments, says):
    arguments = [str(tmp_path / a) if "json" in a else a for a in arguments]
    done = interop("index", "build", *arguments)
    assert done.returncode == 2 and says in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not list(tmp_path.iterdir())


def test_a_models_shapes():
    assert state_dict_shapes("resnet18")["fc.weight"] == (1000, 512)
