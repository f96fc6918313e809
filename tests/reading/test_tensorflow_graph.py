"""What the operators of a TensorFlow graph reach, and where their file names come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from fixtures import tensorflow_graphs as tf
from interop.errors import ReadError
from interop.reading import read
from interop.reading.formats import tensorflow_operators as known

FILE = tf.constant("file", "/etc/passwd")
INPUT = tf.node("x", "Placeholder")
LOAD = tf.node("load", "RestoreV2", ["file"])
READS = "'/etc/passwd' (operator InitializeTableFromTextFileV2 of the graph)"


def _table(name: str) -> bytes:
    return tf.node("init", "InitializeTableFromTextFileV2", ["table", name])


def _told(tmp_path: Path, *graphs: bytes) -> list[str]:
    """The names and files that a SavedModel of these graphs reaches."""
    (tmp_path / "saved_model.pb").write_bytes(tf.saved_model(*graphs))
    manifest = read(tmp_path)
    imports = [f"{one.name} {one.danger}" for one in manifest.imports]
    return imports + [str(one) for one in manifest.opened]


@pytest.mark.parametrize(
    ("operator", "texts", "told"),
    [
        ("ReadFile", {}, "ReadFile unsafe"),
        ("PyFunc", {}, "PyFunc unsafe"),
        ("DataServiceDatasetV4", {}, "DataServiceDatasetV4 unsafe"),
        ("SnapshotChunkDataset", {}, "SnapshotChunkDataset unsafe"),
        ("TakeWhileDataset", {}, "TakeWhileDataset code"),
        ("IO>FileRead", {}, "IO>FileRead code"),
        ("Batch_MadeUpOp", {}, "Batch_MadeUpOp code"),
        ("LookupTableExportV2", {}, "LookupTableExportV2 code"),
        ("PrintV2", {"output_stream": "file:///x"}, "PrintV2 unsafe"),
        ("PrintV2", {"output_stream": "stderr"}, ""),
        ("ImmutableConst", {"memory_region_name": "/a"},
         "'/a' (operator ImmutableConst of the graph)"),
        ("DecodeProtoV2", {"descriptor_source": "/a"},
         "'/a' (operator DecodeProtoV2 of the graph)"),
        ("DecodeProtoV2", {"descriptor_source": "local://"}, ""),
        ("EncodeProto", {"descriptor_source": "bytes://x"}, ""),
        ("FixedUnigramCandidateSampler", {"vocab_file": "/a"},
         "'/a' (operator FixedUnigramCandidateSampler of the graph)"),
        ("FixedUnigramCandidateSampler", {"vocab_file": ""}, ""),
        ("Conv2D", {"padding": "file:///x"}, ""),
        ("LookupTableImportV2", {}, ""),
        ("IteratorGetNext", {}, ""),
        ("OneShotIterator", {}, "OneShotIterator code"),
    ],
)  # fmt: skip
def test_an_operator_is_known_to_compute_or_told_of(
    tmp_path: Path, operator: str, texts: dict[str, str], told: str
) -> None:
    graph = tf.meta_graph([INPUT, tf.node("y", operator, ["x"], texts)])
    assert _told(tmp_path, graph) == ([told] if told else [])
    # So it is within a function, whatever that is called.
    inner = tf.function("PyFunc2", ["x"], tf.node("y", operator, ["x"], texts))
    assert _told(tmp_path, tf.meta_graph([INPUT], [inner])) == ([told] if told else [])


def test_a_saver_that_is_given_its_file_is_no_danger(tmp_path: Path) -> None:
    assert _told(tmp_path, tf.meta_graph([FILE, LOAD], saver="file:0")) == []
    assert _told(tmp_path, tf.meta_graph([FILE, LOAD])) == ["RestoreV2 unsafe"]
    assert _told(tmp_path, tf.meta_graph([FILE, LOAD], saver="other:0")) == ["RestoreV2 unsafe"]
    # What is of one graph says nothing of another.
    other = tf.meta_graph([FILE, INPUT], saver="file:0")
    assert _told(tmp_path, tf.meta_graph([FILE, LOAD]), other) == ["RestoreV2 unsafe"]
    assert _told(tmp_path, other, tf.meta_graph([FILE, LOAD])) == ["RestoreV2 unsafe"]


def test_a_given_name_may_be_extended_but_not_replaced(tmp_path: Path) -> None:
    given, part = tf.node("given", "Placeholder"), tf.constant("part", "_temp/part")
    save = tf.node("save", "SaveV2", ["joined"])
    joined = tf.node("joined", "StringJoin", ["given", "part"])
    assert _told(tmp_path, tf.meta_graph([given, part, joined, save])) == []
    either = tf.node("joined", "Select", ["given", "file"])
    assert _told(tmp_path, tf.meta_graph([given, FILE, either, save])) == ["SaveV2 unsafe"]


def test_the_name_of_an_asset_is_given(tmp_path: Path) -> None:
    asset = ("file:0", "vocabulary.txt")
    assert _told(tmp_path, tf.meta_graph([FILE, _table("file")], asset=asset)) == []
    assert _told(tmp_path, tf.meta_graph([FILE, _table("file")])) == [READS]
    # TensorFlow 2 keeps it in a variable.
    variable, assign = tf.node("v", "VarHandleOp"), tf.node("a", "AssignVariableOp", ["v", "file"])
    held = [FILE, variable, assign, tf.node("r", "ReadVariableOp", ["v"]), _table("r")]
    assert _told(tmp_path, tf.meta_graph(held, asset=asset)) == []
    assert _told(tmp_path, tf.meta_graph(held)) == [READS]


def test_a_name_is_followed_to_the_callers_of_a_function(tmp_path: Path) -> None:
    load = tf.function("load", ["table", "name"], _table("name"))
    for operator, inputs in (
        ("StatefulPartitionedCall", ["x", "file"]),
        ("load", ["x", "file", "^x"]),
        ("If", ["x", "x", "file"]),
        ("RemoteMade", ["file"]),
    ):
        call = tf.node("call", operator, inputs, calls="load")
        assert READS in _told(tmp_path, tf.meta_graph([INPUT, FILE, call], [load]))
    fed = tf.node("call", "PartitionedCall", ["file", "x"], calls="load")
    assert _told(tmp_path, tf.meta_graph([INPUT, FILE, fed], [load])) == []
    assert _told(tmp_path, tf.meta_graph([INPUT], [load])) == []  # by whoever calls it


@pytest.mark.parametrize("asset", [True, False])
def test_a_name_is_followed_to_what_a_function_is_bound_to(tmp_path: Path, asset: bool) -> None:
    load = tf.function("load", ["table", "name"], _table("name"))
    bound = tf.field(9, tf.field(1, "file")) if not asset else tf.field(5, b"")
    concrete = tf.field(1, "load") + tf.field(2, tf.field(2, 0))
    objects = tf.field(7, tf.field(1, bound) + tf.field(2, concrete))
    graph = tf.meta_graph([FILE], [load], asset=("other", "v.txt") if asset else None, more=objects)
    assert _told(tmp_path, graph) == ([] if asset else [READS])


def test_two_of_one_name_are_both_judged(tmp_path: Path) -> None:
    twice = [tf.node("y", "ReadFile", ["x"]), tf.node("y", "Identity", ["x"])]
    assert _told(tmp_path, tf.meta_graph([INPUT, *twice])) == ["ReadFile unsafe"]
    functions = [tf.function("f", ["x"], one) for one in twice]
    assert _told(tmp_path, tf.meta_graph([INPUT], functions)) == ["ReadFile unsafe"]


def test_layers_in_the_object_graph_are_told_of(tmp_path: Path) -> None:
    layer = '{"class_name": "Lambda", "config": {"vocabulary": "/v"}}'
    objects = tf.field(7, tf.field(1, tf.field(4, tf.field(3, layer))))
    told = _told(tmp_path, tf.meta_graph([INPUT], more=objects))
    assert told == ["Lambda unsafe", "'/v' (vocabulary of the Lambda layer)"]


def test_names_that_go_in_circles_end(tmp_path: Path) -> None:
    circle = [tf.node("a", "Identity", ["b"]), tf.node("b", "Identity", ["a"])]
    assert _told(tmp_path, tf.meta_graph([*circle, tf.node("s", "SaveV2", ["a"])])) == [
        "SaveV2 unsafe"
    ]
    again = tf.function("f", ["n"], tf.node("c", "f", ["n"]), tf.node("s", "SaveV2", ["n"]))
    assert _told(tmp_path, tf.meta_graph([INPUT], [again])) == ["SaveV2 unsafe"]


def test_no_operator_is_on_two_lists() -> None:
    lists = (known.COMPUTING, known.REACHING, known.SAVING, known.TABLE_SAVING,
             known.FILE_INPUTS.keys(), known.FILE_ATTRIBUTES.keys())  # fmt: skip
    names = [name for one in lists for name in one]
    assert len(names) == len(set(names)) > 1000


def test_following_names_has_an_end(tmp_path: Path) -> None:
    chain = [tf.node("n0", "Identity", ["n1999"])]
    chain += [tf.node(f"n{n}", "Identity", [f"n{n - 1}"]) for n in range(1, 2000)]
    savers = [tf.node(f"s{n}", "SaveV2", ["n1999"]) for n in range(400)]
    with pytest.raises(ReadError) as error:
        _told(tmp_path, tf.meta_graph([*chain, *savers]))
    assert error.value.rule == "pickle-over-limit"
    assert _told(tmp_path, tf.meta_graph([*chain, *savers[:3]])) == ["SaveV2 unsafe"]
    arguments = [f"a{n}" for n in range(300)]
    saves = [tf.node(f"s{n}", "SaveV2", [f"a{n}"]) for n in range(300)]
    calls = [tf.node(f"c{n}", "PartitionedCall", ["x"] * 300, calls="f") for n in range(30)]
    with pytest.raises(ReadError) as error:
        _told(tmp_path, tf.meta_graph([INPUT, *calls], [tf.function("f", arguments, *saves)]))
    assert error.value.rule == "pickle-over-limit"
