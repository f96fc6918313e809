"""The parts of a model's folder: which files are, what they are for, and what is looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from interop.facts import PartKind
from interop.reading import read
from interop.reading.parts import MAX_DEPTH, hashed, is_ignored, kind_of


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("config.json", PartKind.CONFIG),
        ("tokenizer.json", PartKind.TOKENIZER),
        ("source.spm", PartKind.TOKENIZER),
        ("qwen.tiktoken", PartKind.TOKENIZER),
        ("vocab-src.json", PartKind.TOKENIZER),
        ("tokenizer/config.json", PartKind.TOKENIZER),
        ("additional_chat_templates/tool.jinja", PartKind.CHAT_TEMPLATE),
        ("preprocessor_config.json", PartKind.PROCESSOR),
        ("video_preprocessor_config.json", PartKind.PROCESSOR),
        ("generation_config.json", PartKind.GENERATION),
        ("modules.json", PartKind.MODULE),
        ("1_Pooling/config.json", PartKind.MODULE),
        ("2_Dense/model.safetensors", PartKind.MODULE),
        ("sentence_bert_config.json", PartKind.MODULE),
        ("adapter_config.json", PartKind.ADAPTER),
        ("adapter_model.safetensors", PartKind.ADAPTER),
        ("modeling_mine.py", PartKind.CODE),
        ("labels.txt", PartKind.LABELS),
        ("interop.json", PartKind.RECEIPT),
        ("onnx/model.onnx", PartKind.COPY),
        ("pytorch_model.bin", PartKind.COPY),
        ("args.yaml", PartKind.UNKNOWN),
    ],
)
def test_what_a_file_is_for(path: str, kind: PartKind) -> None:
    assert kind_of(path) is kind


def test_what_is_ignored_and_what_is_not() -> None:
    ignored = ("README.md", ".gitattributes", "LICENSE", "trainer_state.json", "optimizer.pt",
               "training_args.bin", "events.out.tfevents.17", "all_results.json")  # fmt: skip
    assert all(map(is_ignored, ignored))
    assert not any(map(is_ignored, ("tokenizer.json", "x.json", "vocab.txt", "modeling.py")))


def _model(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_file({"w": torch.ones(2)}, folder / "model.safetensors", {"format": "pt"})


def test_parts_are_listed_by_path_and_hashed_only_on_demand(tmp_path: Path) -> None:
    _model(tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.yaml").write_text("1")
    (tmp_path / "config.json").write_text("{}")
    plain = read(tmp_path)
    assert plain.is_folder
    assert [(p.path, p.size, p.sha256) for p in plain.parts] == [
        ("a/b/x.yaml", 1, None), ("config.json", 2, None)
    ]  # fmt: skip
    assert all(p.sha256 for p in read(tmp_path, content_hash=True).parts)
    (tmp_path / "config.json").unlink()
    assert hashed(plain.parts[1]).fault


def test_what_lies_too_deep_is_told(tmp_path: Path) -> None:
    _model(tmp_path)
    deep = tmp_path.joinpath(*["d"] * (MAX_DEPTH + 1))
    deep.mkdir(parents=True)
    (deep / "x").write_text("1")
    (part,) = read(tmp_path).parts
    assert "deep" in part.fault and part.sha256 is None


def test_a_folder_that_holds_itself_ends(tmp_path: Path) -> None:
    _model(tmp_path)
    (tmp_path / "again").symlink_to(tmp_path)
    (part,) = read(tmp_path).parts
    assert "not followed" in part.fault


def test_the_transformer_may_lie_in_its_own_folder(tmp_path: Path) -> None:
    _model(tmp_path / "0_Transformer")
    (tmp_path / "0_Transformer" / "tokenizer.json").write_text("{}")
    front = "sentence_transformers.models."
    listed = [{"path": "0_Transformer", "type": f"{front}Transformer"},
              {"path": "1_Pooling", "type": f"{front}Pooling"}]  # fmt: skip
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    (tmp_path / "0_Transformer" / "config.json").write_text("{}")
    manifest = read(tmp_path)
    assert manifest.path == str(tmp_path)
    assert manifest.file.endswith("0_Transformer/model.safetensors")
    kinds = {p.path: p.kind for p in manifest.parts}
    assert kinds["0_Transformer/tokenizer.json"] is PartKind.TOKENIZER
    assert kinds["0_Transformer/config.json"] is PartKind.CONFIG
    assert manifest.absent == ("1_Pooling: its config.json is missing",)


@pytest.mark.parametrize(
    ("listed", "fault"),
    [
        ("{", "cannot be read"),
        ({"a": 1}, "not a list"),
        ([{"path": "../x", "type": "m.Pooling"}], "not a folder within"),
        ([{"path": "/etc", "type": "m.Pooling"}], "not a folder within"),
        ([{"path": 3, "type": "m.Pooling"}], "not a folder within"),
        ([{"path": "p", "type": "m.Pooling"}] * 101, "more than 100"),
    ],
)
def test_a_list_of_modules_that_is_none(tmp_path: Path, listed: object, fault: str) -> None:
    _model(tmp_path)
    raw = listed if isinstance(listed, str) else json.dumps(listed)
    (tmp_path / "modules.json").write_text(raw)
    assert any(fault in m.fault for m in read(tmp_path).modules)


def test_code_that_the_config_takes_from_the_folder_has_to_be_there(tmp_path: Path) -> None:
    _model(tmp_path)
    stated = {"AutoModel": "modeling_x.Net", "AutoConfig": ["conf.C", None], "a": "o/n--m.Net"}
    (tmp_path / "config.json").write_text(json.dumps({"auto_map": stated}))
    assert len(read(tmp_path).absent) == 2
    (tmp_path / "modeling_x.py").write_text("")
    (absent,) = read(tmp_path).absent
    assert absent.startswith("conf.py")


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        import os

        return os.system, ("true",)


def test_the_pickles_of_modules_are_looked_into(tmp_path: Path) -> None:
    _model(tmp_path)
    (tmp_path / "2_Dense").mkdir()
    torch.save({"w": Payload()}, tmp_path / "2_Dense" / "pytorch_model.bin")
    assert any(i.danger == "unsafe" for i in read(tmp_path).imports)


@pytest.mark.parametrize("inner", ["", "0_Transformer"])
def test_a_class_that_a_module_names_is_imported_wherever_it_is(tmp_path: Path, inner: str) -> None:
    _model(tmp_path / inner)
    front = "sentence_transformers.models."
    listed = [
        {"path": inner, "type": f"{front}Transformer"},
        {"path": "1", "type": f"{front}Dense"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    (tmp_path / "1").mkdir()
    config = tmp_path / "1" / "config.json"
    config.write_text(json.dumps({"activation_function": "torch.nn.modules.activation.Tanh"}))
    assert read(tmp_path).imports == ()
    config.write_text(json.dumps({"activation_function": "mine.Act", "types": {"a": "os.system"}}))
    listed.append({"path": "", "type": "mine.Head"})
    (tmp_path / "modules.json").write_text(json.dumps(listed))
    told = {str(one): one.danger for one in read(tmp_path).imports}
    assert told == {"mine.Act": "code", "os.system": "unsafe", "mine.Head": "code"}


@pytest.mark.parametrize(
    ("file", "config", "told"),
    [
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["tok.Mine", None]}}, "tok.Mine"),
        ("config.json", {"sentence_transformers": {"activation_fn": "mine.act"}}, "mine.act"),
        ("config.json", {"sentence_transformers": {"activation_fn": "torch.nn.Identity"}}, ""),
        (
            "adapter_config.json",
            {"auto_mapping": {"parent_library": "mine", "base_model_class": "N"}},
            "mine.N",
        ),
        ("adapter_config.json", {"auto_mapping": None}, ""),
    ],
)  # fmt: skip
def test_code_that_other_configs_name_is_told(
    tmp_path: Path, file: str, config: object, told: str
) -> None:
    _model(tmp_path)
    (tmp_path / file).write_text(json.dumps(config))
    assert [str(one) for one in read(tmp_path).imports] == ([told] if told else [])
